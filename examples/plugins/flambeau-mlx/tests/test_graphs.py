"""MLX's graphs: they stay short, and threads share them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import flambeau
import mlx.core as mx
import pytest

from flambeau_mlx import evaluation


def test_a_loop_that_looks_at_nothing_does_not_grow_a_graph() -> None:
    """Each step halves and adds: in one graph of 5,000 operations MLX would hold every operand of it."""
    x = flambeau.ones(1000, device="mlx")
    evaluation.synchronize()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    for step in range(2500):
        x = x * 0.5 + flambeau.full((1000,), float(step % 3), device="mlx")
        assert len(evaluation._recent) < evaluation.LIMIT
    evaluation.synchronize()
    assert mx.get_peak_memory() - before < 4 * evaluation.LIMIT * x.numel() * 4
    assert x.max().item() < 4


def test_what_one_thread_began_another_computes() -> None:
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(lambda: flambeau.ones(3, device="mlx") * 2).result()
    # The thread is gone, its own streams with it.
    assert (begun + 1).tolist() == [3.0, 3.0, 3.0]
    here = begun * 5
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: (here + n).sum().item(), range(40))) == [30.0 + 3 * n for n in range(40)]


def test_users_of_mlx_keep_their_stream() -> None:
    before = mx.default_stream(mx.default_device())
    (flambeau.ones(2, device="mlx") + 1).tolist()
    assert mx.default_stream(mx.default_device()) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_is_refused_where_it_would_wait_for_ever() -> None:
    x = flambeau.ones(2, device="mlx")
    assert x.tolist() == [1.0, 1.0]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            (x + 1).tolist()
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        assert "'mlx' cannot compute in a process that was forked after MLX had been loaded" in said.read()
    assert (x + 1).tolist() == [2.0, 2.0]


def test_a_clone_is_copied_when_it_is_written() -> None:
    x = flambeau.zeros(1 << 20, device="mlx")
    evaluation.synchronize()
    before = mx.get_active_memory()
    y = x.clone()
    evaluation.synchronize()
    assert mx.get_active_memory() - before < 1 << 16
    y[0] = 1
    assert (x[0].item(), y[0].item(), y[1].item()) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("index", "error"), [([5], IndexError), ([-4], IndexError)])
def test_an_index_out_of_bounds_is_an_error_where_mlx_would_read_anything(index: list[int], error: type) -> None:
    x = flambeau.arange(3, device="mlx")
    with pytest.raises(error, match="out of bounds for dimension 0 with size 3"):
        x[flambeau.tensor(index, device="mlx")]


def test_an_array_that_no_memory_holds_is_an_error_where_mlx_would_end_the_process() -> None:
    column, row = flambeau.ones(1 << 20, 1, device="mlx"), flambeau.ones(1, 1 << 22, device="mlx")
    with pytest.raises(
        flambeau.OutOfMemoryError, match=r"no memory for an array of shape \[1048576, 4194304\]: it takes"
    ):
        column + row
    assert (column + 1).sum().item() == 1 << 21


def test_reductions_of_nothing() -> None:
    """MLX's own may never return."""
    for _ in range(50):
        assert flambeau.ones(0, 3, device="mlx").sum(0).tolist() == [0.0, 0.0, 0.0]
        assert flambeau.ones(2, 0, device="mlx").prod(1).tolist() == [1.0, 1.0]
