"""``flambeau.summary`` and ``FlopCounterMode``, against counts made by hand and published ones."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import nn
from flambeau.utils.flop_counter import FlopCounterMode

TABLE = """\
==================================================
Layer          Output shape  Parameters  Mult-adds
==================================================
Sequential     [8, 10]            1,490     21,888
  Conv2d (0)   [8, 4, 6, 6]          40     10,368
  ReLU (1)     [8, 4, 6, 6]          --         --
  Flatten (2)  [8, 144]              --         --
  Linear (3)   [8, 10]            1,450     11,520
==================================================
Parameters: 1,490 (trainable 1,450, frozen 40)
Mult-adds: 21,888
Memory: input 0.00 MB, outputs 0.01 MB, parameters 0.01 MB
=================================================="""


def small() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    model[0].requires_grad_(False)
    return model


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    found = flambeau.summary(small(), input_size=(8, 1, 8, 8))
    assert capsys.readouterr().out == f"{TABLE}\n" and str(found) == TABLE
    assert found.total_input_bytes == 8 * 64 * 4 and found.total_param_bytes == 1490 * 4
    assert found.total_output_bytes == 4 * 8 * (4 * 36 * 3 + 10)
    flambeau.summary(small(), (1, 8, 8), batch_dim=0, verbose=0)
    assert capsys.readouterr().out == ""


def test_resnet_has_its_published_size() -> None:
    """11.69 million parameters and 1.81 billion multiply-adds (torchvision's table of models)."""
    models = pytest.importorskip("flambeau_vision.models")
    found = flambeau.summary(models.resnet18(), (1, 3, 224, 224), verbose=0)
    assert found.total_params == 11_689_512
    assert found.total_mult_adds == 1_814_073_344


def test_the_model_stays_as_it_is() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = flambeau.get_rng_state()
    flambeau.summary(model, (4, 3), verbose=0)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert flambeau.get_rng_state().equal(state)
    assert not model._forward_hooks and not model[0]._forward_pre_hooks


def test_inputs_of_all_kinds() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.shared = nn.Embedding(7, 4), nn.Linear(4, 4)

        def forward(self, ids: flambeau.Tensor, scale: flambeau.Tensor, *, twice: bool = False) -> flambeau.Tensor:
            x = self.shared(self.embed(ids)) * scale
            return self.shared(x) if twice else x

    model, ids, scale = Net(), flambeau.tensor([[1, 2]]), flambeau.ones(1)
    once = flambeau.summary(model, input_data=(ids, scale), verbose=0)
    assert once.total_mult_adds == 2 * 4 * 4
    assert flambeau.summary(model, input_data={"ids": ids, "scale": scale}, verbose=0).total_mult_adds == 32
    sizes = flambeau.summary(model, [(1, 2), (1,)], dtypes=[flambeau.int64, flambeau.float32], twice=True, verbose=0)
    assert sizes.total_mult_adds == 64
    assert [layer.recursive for layer in sizes.summary_list] == [False, False, False, True]
    assert sizes.total_params == 7 * 4 + 20
    assert "(again)" in str(sizes)


def test_without_input_there_are_parameters() -> None:
    found = flambeau.summary(small(), verbose=0)
    assert found.total_params == 1490 and found.total_mult_adds is None
    assert [layer.num_params for layer in found.summary_list] == [1490, 40, 0, 0, 1450]


def test_depth() -> None:
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(2, 2))))
    assert "Linear" not in str(flambeau.summary(model, (1, 2), depth=2, verbose=0))
    assert "Linear" in str(flambeau.summary(model, (1, 2), depth=3, verbose=0))


def test_errors() -> None:
    with pytest.raises(TypeError, match="expected a Module, got int"):
        flambeau.summary(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not both"):
        flambeau.summary(small(), (1,), flambeau.ones(1))
    with pytest.raises(ValueError, match=r"weight has no shape yet"):
        flambeau.summary(nn.LazyLinear(3), (1, 2))
    with pytest.raises(RuntimeError, match=r"^summary: .* in 3 \(Linear\) in the model \(Sequential\): linear"):
        flambeau.summary(small(), (8, 1, 4, 4))


# -- counting ----------------------------------------------------------------------------------------------------------


def flops(run: object) -> int:
    with FlopCounterMode(display=False) as counter:
        run()  # type: ignore[operator]
    return counter.get_total_flops()


def test_flops_by_hand() -> None:
    ones = flambeau.ones
    assert flops(lambda: ones(2, 3, 4) @ ones(2, 4, 5)) == 2 * 2 * 3 * 4 * 5
    assert flops(lambda: flambeau.addmm(ones(5), ones(3, 4), ones(4, 5))) == 2 * 3 * 4 * 5
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    assert flops(lambda: conv(ones(2, 4, 8, 8))) == 2 * 2 * 6 * 64 * 2 * 9
    up = nn.ConvTranspose2d(4, 6, 2, stride=2)
    assert flops(lambda: up(ones(2, 4, 8, 8))) == 2 * 2 * 64 * 4 * 6 * 4
    heads = ones(2, 3, 5, 4)
    assert flops(lambda: nn.functional.scaled_dot_product_attention(heads, heads, heads)) == 2 * 2 * (2 * 3 * 5 * 5 * 4)
    assert flops(lambda: ones(5).exp()) == 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_backward_counts_twice_the_forward_pass(device: str) -> None:
    layer = nn.Linear(4, 5, device=device)
    x = flambeau.ones(3, 4, device=device, requires_grad=True)
    assert flops(lambda: layer(x).sum().backward()) == 3 * (2 * 3 * 4 * 5)
    conv = nn.Conv1d(2, 3, 3, device=device)
    y = flambeau.ones(1, 2, 6, device=device, requires_grad=True)
    assert flops(lambda: conv(y).sum().backward()) == 3 * (2 * 4 * 3 * 2 * 3)


def test_table_of_flops(capsys: pytest.CaptureFixture[str]) -> None:
    with FlopCounterMode() as counter:
        flambeau.ones(2, 3) @ flambeau.ones(3, 4)
    assert counter.get_flop_counts() == {"Global": {"matmul": 48}}
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["matmul", "48", "100.00%"],
        ["total", "48", "100.00%"],
    ]
