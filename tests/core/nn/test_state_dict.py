"""Saving and loading what a module holds."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import pytest

import flambeau
from flambeau import nn


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_state_dict_shares_memory_and_is_detached() -> None:
    net = model()
    state = net.state_dict()
    assert list(state) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
    ]  # fmt: skip
    assert not state["0.weight"].requires_grad
    state["0.weight"].fill_(7)
    assert net[0].weight.tolist() == [[7.0, 7.0]] * 3
    assert net.state_dict(keep_vars=True)["0.weight"] is net[0].weight
    assert list(net[0].state_dict(prefix="x.")) == ["x.weight", "x.bias"]
    filled: OrderedDict[str, Any] = OrderedDict()
    assert net[0].state_dict(destination=filled) is filled


def test_metadata_survives_and_reaches_the_loaders() -> None:
    state = model().state_dict()
    assert state._metadata == {"": {"version": 1}, "0": {"version": 1}, "1": {"version": 2}}
    for twin in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert twin._metadata == state._metadata


def test_old_batch_norms_had_no_count() -> None:
    net = nn.BatchNorm1d(3)
    state = net.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    net.num_batches_tracked.fill_(5)
    assert repr(net.load_state_dict(state)) == "<All keys matched successfully>"
    assert net.num_batches_tracked.item() == 5
    state._metadata[""]["version"] = 2
    assert net.load_state_dict(state, strict=False).missing_keys == ["num_batches_tracked"]


def test_loading_copies_into_the_parameters() -> None:
    source, target = model(), model()
    weight = target[0].weight
    found = target.load_state_dict(source.state_dict())
    assert found == ([], [])
    assert str(found) == "<All keys matched successfully>"
    assert target[0].weight is weight
    assert target[0].weight.tolist() == source[0].weight.tolist()
    assert target[0].weight.requires_grad
    source[0].weight.data.fill_(0)
    assert target[0].weight.tolist() != source[0].weight.tolist()


def test_loading_casts() -> None:
    net = nn.Linear(1, 1)
    net.load_state_dict({"weight": flambeau.tensor([[2.0]], dtype=flambeau.float64), "bias": flambeau.tensor([3])})
    assert net.weight.dtype == flambeau.float32
    assert (net.weight.item(), net.bias.item()) == (2.0, 3.0)


def test_assign_puts_the_tensors_in_place() -> None:
    net = nn.Linear(1, 1, device="meta")
    state = {"weight": flambeau.ones(1, 1, dtype=flambeau.float64), "bias": nn.Parameter(flambeau.ones(1))}
    net.bias.requires_grad_(False)
    net.load_state_dict(state, assign=True)
    assert net.weight.dtype == flambeau.float64
    assert net.weight.requires_grad
    assert isinstance(net.weight, nn.Parameter)
    assert net.bias is state["bias"]
    assert not net.bias.requires_grad


def test_loading_into_meta_without_assign_warns() -> None:
    net = nn.Linear(1, 1, bias=False, device="meta")
    with pytest.warns(UserWarning, match=r"which is a no-op. \(Did you mean to pass `assign=True`"):
        net.load_state_dict({"weight": flambeau.ones(1, 1)})
    assert net.weight.is_meta


def test_one_message_lists_everything() -> None:
    state = model().state_dict()
    del state["0.bias"], state["1.running_var"]
    state["0.other"] = state["2.weight"] = flambeau.zeros(1)
    state["0.weight"] = flambeau.zeros(3, 4)
    with pytest.raises(RuntimeError) as caught:
        model().load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "0.bias", "1.running_var". \n'
        '\tUnexpected key(s) in state_dict: "2.weight", "0.other". \n'
        "\tsize mismatch for 0.weight: copying a param with shape flambeau.Size([3, 4]) from checkpoint, the shape in "
        "current model is flambeau.Size([3, 2])."
    )


def test_without_strict_names_may_differ_but_not_sizes() -> None:
    state = model().state_dict()
    del state["0.bias"]
    state["2.weight"] = flambeau.zeros(1)
    found = model().load_state_dict(state, strict=False)
    assert found.missing_keys == ["0.bias"]
    assert found.unexpected_keys == ["2.weight"]
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        nn.Linear(1, 1).load_state_dict({"weight": flambeau.zeros(2, 2)}, strict=False)


def test_what_is_no_state_dict() -> None:
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>"):
        model().load_state_dict([])
    with pytest.raises(RuntimeError, match="named \"weight\", expected flambeau.Tensor .* received <class 'float'>"):
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": 1.0})


def test_a_number_saved_as_a_vector() -> None:
    net = nn.BatchNorm1d(1)
    state = {**net.state_dict(), "num_batches_tracked": flambeau.tensor([4])}
    net.load_state_dict(state)
    assert net.num_batches_tracked.item() == 4


class WithExtra(nn.Module):
    def __init__(self, note: str) -> None:
        super().__init__()
        self.note = note

    def get_extra_state(self) -> Any:
        return {"note": self.note}

    def set_extra_state(self, state: Any) -> None:
        self.note = state["note"]


def test_extra_state() -> None:
    source, target = nn.Sequential(WithExtra("kept")), nn.Sequential(WithExtra("lost"))
    state = source.state_dict()
    assert state == {"0._extra_state": {"note": "kept"}}
    target.load_state_dict(state)
    assert target[0].note == "kept"
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0._extra_state"'):
        target.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "_extra_state"'):
        nn.ReLU().load_state_dict({"_extra_state": 1})


def test_hooks_of_saving() -> None:
    net = nn.Linear(1, 1)
    calls: list[Any] = []
    before = net.register_state_dict_pre_hook(lambda module, prefix, keep_vars: calls.append((prefix, keep_vars)))
    after = net.register_state_dict_post_hook(
        lambda module, state, prefix, metadata: state.pop(prefix + "bias") and None
    )
    assert list(nn.Sequential(net).state_dict()) == ["0.weight"]
    assert calls == [("0.", False)]
    before.remove()
    after.remove()
    assert list(net.state_dict()) == ["weight", "bias"]
    assert len(calls) == 1
    net.register_state_dict_post_hook(lambda module, state, prefix, metadata: {})
    with pytest.raises(RuntimeError, match="state_dict post-hook must return None"):
        net.state_dict()


def test_hooks_of_loading() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    state = net.state_dict()
    renamed = {key.replace("weight", "kernel"): value for key, value in state.items()}

    def rename(module: Any, state_dict: Any, prefix: str, *rest: Any) -> None:
        state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")

    handle = net[0].register_load_state_dict_pre_hook(rename)
    net.load_state_dict(renamed)
    assert set(renamed) == {"0.kernel", "0.bias"}  # the caller's dictionary is left alone
    copy.deepcopy(net).load_state_dict(renamed)
    handle.remove()
    with pytest.raises(RuntimeError, match="kernel"):
        net.load_state_dict(renamed)
    forgiving = net.register_load_state_dict_post_hook(lambda module, found: found.missing_keys.clear())
    assert net.load_state_dict({}) == ([], [])
    forgiving.remove()
    net.register_load_state_dict_post_hook(lambda module, found: found)
    with pytest.raises(AssertionError, match="are not expected to return new values"):
        net.load_state_dict(state)
