"""Dtypes that are stored and cast, and hardly computed with: floats of 8 bits, wide unsigned integers."""

from __future__ import annotations

from pathlib import Path

import pytest

import flambeau

ml_dtypes = pytest.importorskip("ml_dtypes")
FLOATS = [flambeau.float8_e4m3fn, flambeau.float8_e4m3fnuz, flambeau.float8_e5m2, flambeau.float8_e5m2fnuz]
UNSIGNED = [flambeau.uint16, flambeau.uint32, flambeau.uint64]


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_casts_round_to_what_8_bits_hold(kind: flambeau.dtype) -> None:
    limits = flambeau.finfo(kind)
    x = flambeau.tensor([1.0, 1.0 + limits.eps, 1.0 + limits.eps / 4, -limits.max, limits.tiny])
    assert x.to(kind).float().tolist() == [1.0, 1.0 + limits.eps, 1.0, -limits.max, limits.tiny]


def test_what_is_too_large_for_e4m3fn_is_the_largest() -> None:
    assert flambeau.tensor([500.0, float("-inf")]).to(flambeau.float8_e4m3fn).float().tolist() == [448.0, -448.0]
    assert flambeau.tensor([1e6]).to(flambeau.float8_e5m2).float().tolist() == [float("inf")]


@pytest.mark.parametrize("kind", FLOATS, ids=str)
def test_elements_move_and_do_not_compute(kind: flambeau.dtype) -> None:
    x = flambeau.tensor([1.0, 2.0, -0.5]).to(kind)
    assert flambeau.cat([x, x[1:]]).float().tolist() == [1.0, 2.0, -0.5, 2.0, -0.5]
    x[0] = 4
    assert x.reshape(3, 1).t().float().tolist() == [[4.0, 2.0, -0.5]]
    assert x.is_floating_point()
    for compute in (lambda: x + x, lambda: x * 2, lambda: -x, lambda: x.exp(), lambda: x.sum(), lambda: x.mul_(2)):
        with pytest.raises(NotImplementedError, match=f"is not implemented for {kind.name}"):
            compute()


def test_promotion_is_refused_where_pytorch_refuses_it() -> None:
    with pytest.raises(RuntimeError, match="promotion for 8-bit floats is not supported, attempted to promote float8_"):
        flambeau.promote_types(flambeau.float8_e5m2, flambeau.float32)
    with pytest.raises(RuntimeError, match="promotion for uint16, uint32 and uint64 is not supported"):
        flambeau.tensor([1], dtype=flambeau.uint16) + flambeau.tensor([1])
    assert flambeau.promote_types(flambeau.uint32, flambeau.float16) is flambeau.float16


@pytest.mark.parametrize("kind", UNSIGNED, ids=str)
def test_wide_unsigned_integers_hold_their_range(kind: flambeau.dtype) -> None:
    limits = flambeau.iinfo(kind)
    x = flambeau.tensor([0, limits.max], dtype=kind)
    assert x.tolist() == [0, limits.max]
    assert (x[:1] + 1).dtype is kind
    assert (x[:1] * 0.5).dtype is flambeau.float32


@pytest.mark.parametrize("kind", [*FLOATS, *UNSIGNED], ids=str)
def test_checkpoints_bring_them_back(kind: flambeau.dtype, tmp_path: Path) -> None:
    x = flambeau.tensor([0, 1, 3]).to(kind)
    flambeau.save({"x": x, "part": x[1:]}, tmp_path / "c.pt")
    back = flambeau.load(tmp_path / "c.pt")
    assert back["x"].dtype is kind
    assert back["x"].view(flambeau.uint8).tolist() == x.view(flambeau.uint8).tolist()
    assert back["part"].untyped_storage() == back["x"].untyped_storage()
