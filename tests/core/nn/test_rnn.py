"""Recurrent layers, their cells, and packed sequences: against loops over single steps in NumPy."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn.utils import rnn

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def tensor(values: np.ndarray) -> Any:
    return flambeau.from_numpy(np.array(values))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# -- one step of one sequence, as the papers have it -------------------------------------------------------------------


def weights_of(module: Any, suffix: str = "") -> dict[str, np.ndarray]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    found = {name: getattr(module, name + suffix, None) for name in names}
    return {name: value.detach().numpy() for name, value in found.items() if value is not None}


def step(kind: str, w: dict[str, np.ndarray], x: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    a, b = w["weight_ih"] @ x, w["weight_hh"] @ state[0]
    if "bias_ih" in w:
        a, b = a + w["bias_ih"], b + w["bias_hh"]
    if kind == "LSTM":
        i, f, g, o = np.split(a + b, 4)
        cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        return (w["weight_hr"] @ hidden if "weight_hr" in w else hidden), cell
    if kind == "GRU":
        (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
        z = sigmoid(a_z + b_z)
        return ((1 - z) * np.tanh(a_n + sigmoid(a_r + b_r) * b_n) + z * state[0],)
    return (np.tanh(a + b) if kind == "RNN" else np.maximum(a + b, 0),)


def run(kind: str, module: Any, sequence: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[Any]]:
    """One sequence (T, I) through all layers; ``states`` are (layers * directions, size)."""
    last = []
    directions = 2 if module.bidirectional else 1
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            weights = weights_of(module, f"_l{layer}" + ("_reverse" if direction else ""))
            state = tuple(s[layer * directions + direction] for s in states)
            hidden = []
            for x in sequence[::-1] if direction else sequence:
                state = step(kind, weights, x, state)
                hidden.append(state[0])
            outputs.append(np.array(hidden[::-1] if direction else hidden))
            last.append(state)
        sequence = np.concatenate(outputs, 1)
    return sequence, [np.array(each) for each in zip(*last, strict=True)]


CASES = [
    ("RNN", {}),
    ("ReLU", {"nonlinearity": "relu", "num_layers": 2}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("GRU", {"bias": False, "batch_first": True}),
    ("LSTM", {"batch_first": True}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bias": False}),
]


def make(kind: str, kwargs: dict[str, Any], sizes: tuple[int, int] = (5, 4)) -> Any:
    return getattr(nn, "RNN" if kind == "ReLU" else kind)(*sizes, **kwargs).double()


def states_for(module: Any, *batch: int) -> list[np.ndarray]:
    count = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or module.hidden_size] + ([module.hidden_size] if module.mode == "LSTM" else [])
    return [normal(count, *batch, size) for size in sizes]


def as_hx(states: list[Any]) -> Any:
    return states[0] if len(states) == 1 else tuple(states)


def as_list(hx: Any) -> list[np.ndarray]:
    return [state.detach().numpy() for state in (hx if isinstance(hx, tuple) else (hx,))]


@pytest.mark.parametrize(("kind", "kwargs"), CASES)
def test_layer_agrees_with_single_steps(kind: str, kwargs: dict[str, Any]) -> None:
    module = make(kind, kwargs)
    x, states = normal(6, 3, 5), states_for(make(kind, kwargs), 3)
    given = x.swapaxes(0, 1) if module.batch_first else x
    output, last = module(tensor(given), as_hx([tensor(s) for s in states]))
    output = output.detach().numpy()
    for n in range(3):
        expected, expected_last = run(kind, module, x[:, n], [s[:, n] for s in states])
        np.testing.assert_allclose(output[n] if module.batch_first else output[:, n], expected, atol=1e-12)
        for own, state in zip(as_list(last), expected_last, strict=True):
            np.testing.assert_allclose(own[:, n], state, atol=1e-12)


@pytest.mark.parametrize(("kind", "kwargs"), CASES)
@pytest.mark.parametrize("lengths", [(6, 4, 4, 1), (2, 6, 1, 3)])
def test_packed_sequences_agree_with_single_steps(kind: str, kwargs: dict[str, Any], lengths: tuple[int, ...]) -> None:
    module = make(kind, kwargs)
    parts, states = [normal(length, 5) for length in lengths], states_for(module, 4)
    packed = rnn.pack_sequence([tensor(p) for p in parts], enforce_sorted=False)
    output, last = module(packed, as_hx([tensor(s) for s in states]))
    for n, sequence in enumerate(rnn.unpack_sequence(output)):
        expected, expected_last = run(kind, module, parts[n], [s[:, n] for s in states])
        np.testing.assert_allclose(sequence.detach().numpy(), expected, atol=1e-12)
        for own, state in zip(as_list(last), expected_last, strict=True):
            np.testing.assert_allclose(own[:, n], state, atol=1e-12)


@pytest.mark.parametrize(("kind", "kwargs"), CASES)
def test_one_sequence_and_no_states(kind: str, kwargs: dict[str, Any]) -> None:
    module, x = make(kind, kwargs), normal(6, 5)
    output, last = module(tensor(x))
    expected, expected_last = run(kind, module, x, [0 * s for s in states_for(module)])
    np.testing.assert_allclose(output.detach().numpy(), expected, atol=1e-12)
    for own, state in zip(as_list(last), expected_last, strict=True):
        np.testing.assert_allclose(own, state, atol=1e-12)


@pytest.mark.parametrize(("kind", "kwargs"), [case for case in CASES if case[0] != "ReLU"])
@pytest.mark.parametrize("packed", [False, True])
def test_gradients(kind: str, kwargs: dict[str, Any], packed: bool) -> None:
    module = make(kind, kwargs, (2, 3))
    names, parameters = zip(*module.named_parameters(), strict=True)
    states = states_for(module, 2)
    x = normal(2, 3, 2) if module.batch_first else normal(3, 2, 2)

    def loss(*given: Any) -> Any:
        x, *rest = given
        module._parameters.update(zip(names, rest[len(states) :], strict=True))
        if packed:
            x = rnn.pack_padded_sequence(x, [3, 1], batch_first=module.batch_first)
        output, last = module(x, as_hx(rest[: len(states)]))
        return output.data if packed else output, *(last if isinstance(last, tuple) else (last,))

    leaves = [tensor(value).requires_grad_() for value in (x, *states)]
    assert gradcheck(loss, (*leaves, *parameters), fast_mode=True)
    if module.num_layers == 1:  # the others take ten seconds
        assert gradgradcheck(loss, (*leaves, *parameters), fast_mode=True)


def test_gradient_of_last_states_alone() -> None:
    module, x = make("LSTM", {"num_layers": 2}, (2, 3)), tensor(normal(4, 2, 2)).requires_grad_()
    assert gradcheck(lambda x: module(x)[1][1], (x,))
    assert gradcheck(lambda x: module(x)[1][0], (x,))


def test_dropout_is_between_layers_and_in_training_only() -> None:
    x = flambeau.randn(3, 2, 5)
    module = nn.GRU(5, 4, 2, dropout=1.0)
    # All that the second layer sees of the first is dropped.
    expected = nn.GRU(5, 4, 2)
    expected.load_state_dict(module.state_dict())
    second = nn.GRU(4, 4)
    second.load_state_dict({name.replace("l1", "l0"): v for name, v in module.state_dict().items() if "l1" in name})
    assert flambeau.allclose(module(x)[0], second(flambeau.zeros(3, 2, 4))[0])
    assert flambeau.equal(module.eval()(x)[0], expected(x)[0])


def test_parameters_and_their_names() -> None:
    module = nn.LSTM(5, 4, num_layers=2, bidirectional=True, proj_size=3)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    first = {"weight_ih": (16, 5), "weight_hh": (16, 3), "bias_ih": (16,), "bias_hh": (16,), "weight_hr": (3, 4)}
    expected = {
        f"{name}_l{layer}{suffix}": (16, 6) if layer and name == "weight_ih" else size
        for layer in range(2)
        for suffix in ("", "_reverse")
        for name, size in first.items()
    }
    assert shapes == expected
    assert list(shapes) == list(expected)
    assert [len(group) for group in module.all_weights] == [5] * 4
    bound = 1 / 4**0.5
    assert all(0 < p.abs().max() <= bound for p in module.parameters())
    assert module.flatten_parameters() is None


def test_copies_and_repr() -> None:
    module = nn.LSTM(5, 4, num_layers=2, batch_first=True, bias=False, dropout=0.5, bidirectional=True, proj_size=2)
    assert repr(module) == (
        "LSTM(5, 4, proj_size=2, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)"
    )
    clone = copy.deepcopy(module).eval()
    x = flambeau.randn(2, 3, 5)
    assert flambeau.equal(clone(x)[0], module.eval()(x)[0])


def test_without_gradients_nothing_is_recorded() -> None:
    module = nn.LSTM(2, 3)
    with flambeau.no_grad():
        output, (hidden, cell) = module(flambeau.randn(4, 1, 2))
    assert not output.requires_grad and not hidden.requires_grad and not cell.requires_grad


def test_half_precision() -> None:
    for dtype in (flambeau.float16, flambeau.bfloat16):
        module, x = nn.GRU(3, 4).to(dtype), flambeau.randn(5, 2, 3).to(dtype)
        output, last = module(x)
        assert output.dtype == last.dtype == dtype
        expected, _ = copy.deepcopy(module).float()(x.float())
        assert flambeau.allclose(output.float(), expected, atol=0.05)


def test_a_wrong_call_says_what_is_wrong() -> None:
    module, x = nn.LSTM(5, 4), flambeau.zeros(6, 3, 5)
    for given, error, message in [
        ((flambeau.zeros(6, 3, 4),), RuntimeError, "input.size(-1) must be equal to input_size. Expected 5, got 4"),
        ((flambeau.zeros(5),), ValueError, "LSTM: Expected input to be 2D or 3D, got 1D tensor instead"),
        ((x.double(),), ValueError, "RNN input dtype (flambeau.float64) does not match weight dtype"),
        ((x, flambeau.zeros(1, 3, 4)), RuntimeError, "expected hx to be a tuple (h_0, c_0), got Tensor"),
        (
            (x, (flambeau.zeros(1, 2, 4), flambeau.zeros(1, 3, 4))),
            RuntimeError,
            "Expected hidden[0] size (1, 3, 4), got [1, 2, 4]",
        ),
        (
            (x, (flambeau.zeros(1, 3, 4), flambeau.zeros(1, 3, 5))),
            RuntimeError,
            "Expected hidden[1] size (1, 3, 4), got [1, 3, 5]",
        ),
        (
            (x, (flambeau.zeros(1, 4), flambeau.zeros(1, 4))),
            RuntimeError,
            "For batched 3-D input, hx and cx should also be 3-D but got 2-D, 2-D tensors",
        ),
        ((flambeau.zeros(0, 3, 5),), RuntimeError, "Expected sequence length to be larger than 0"),
    ]:
        with pytest.raises(error) as raised:
            module(*given)
        assert message in str(raised.value)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be greater than zero"),
        ({"num_layers": 0}, ValueError, "num_layers must be greater than zero"),
        ({"hidden_size": 4.0}, TypeError, "hidden_size should be of type int, got: float"),
        ({"bias": 1}, TypeError, "bias should be of type bool, got: int"),
        ({"dropout": 2}, ValueError, "dropout should be a number in range"),
        ({"proj_size": 4}, ValueError, "proj_size has to be smaller than hidden_size"),
    ],
)
def test_wrong_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        nn.LSTM(**{"input_size": 3, "hidden_size": 4, **kwargs})
    assert message in str(raised.value)


def test_arguments_that_other_layers_have() -> None:
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM"):
        nn.GRU(3, 4, proj_size=2)
    with pytest.raises(ValueError, match="Unknown nonlinearity 'gelu'"):
        nn.RNN(3, 4, nonlinearity="gelu")
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(3, 4, dropout=0.5)


# -- cells -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "ReLU", "GRU", "LSTM"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_cells(kind: str, bias: bool, batched: bool) -> None:
    kwargs = {"nonlinearity": "relu"} if kind == "ReLU" else {}
    cell = getattr(nn, ("RNN" if kind == "ReLU" else kind) + "Cell")(5, 4, bias=bias, **kwargs).double()
    x, states = normal(3, 5), [normal(3, 4) for _ in range(2 if kind == "LSTM" else 1)]
    results = [step(kind, weights_of(cell), x[n], tuple(s[n] for s in states)) for n in range(3)]
    if batched:
        actual = as_list(cell(tensor(x), as_hx([tensor(s) for s in states])))
        for own, expected in zip(actual, zip(*results, strict=True), strict=True):
            np.testing.assert_allclose(own, np.array(expected), atol=1e-12)
    else:
        actual = as_list(cell(tensor(x[0]), as_hx([tensor(s[0]) for s in states])))
        for own, one in zip(actual, results[0], strict=True):
            np.testing.assert_allclose(own, one, atol=1e-12)
    zeros = [np.zeros_like(s) for s in states]
    without, given = cell(tensor(x)), cell(tensor(x), as_hx([tensor(z) for z in zeros]))
    for own, expected in zip(as_list(without), as_list(given), strict=True):
        np.testing.assert_array_equal(own, expected)


def test_a_cell_checks_its_input() -> None:
    with pytest.raises(ValueError, match="GRUCell: Expected input to be 1D or 2D, got 3D instead"):
        nn.GRUCell(3, 4)(flambeau.zeros(1, 2, 3))
    with pytest.raises(RuntimeError, match="input has inconsistent input_size: got 2 expected 3"):
        nn.LSTMCell(3, 4)(flambeau.zeros(1, 2))
    with pytest.raises(RuntimeError, match=r"expected hidden of shape \[2, 4\], got \[2, 3\]"):
        nn.RNNCell(3, 4)(flambeau.zeros(2, 3), flambeau.zeros(2, 3))


# -- packed sequences --------------------------------------------------------------------------------------------------


def test_packing_has_the_steps_time_by_time() -> None:
    packed = rnn.pack_sequence([flambeau.tensor([1, 2, 3]), flambeau.tensor([4, 5]), flambeau.tensor([6])])
    assert packed.data.tolist() == [1, 4, 6, 2, 5, 3]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert packed.sorted_indices is None


@pytest.mark.parametrize("lengths", list(itertools.permutations((4, 2, 1))))
@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_undoes_packing(lengths: tuple[int, ...], batch_first: bool) -> None:
    parts = [tensor(normal(length, 2)) for length in lengths]
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    padded, found = rnn.pad_packed_sequence(packed, batch_first, padding_value=-1.0, total_length=5)
    assert found.tolist() == list(lengths)
    assert padded.shape == ((3, 5, 2) if batch_first else (5, 3, 2))
    for n, part in enumerate(parts):
        own = padded[n] if batch_first else padded[:, n]
        assert flambeau.equal(own[: len(part)], part)
        assert (own[len(part) :] == -1).all()
    assert all(map(flambeau.equal, rnn.unpack_sequence(packed), parts))


def test_padding_passes_gradients_on() -> None:
    x = tensor(normal(4, 3, 2)).requires_grad_()

    def there_and_back(x: Any) -> Any:
        return rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False))[0]

    assert gradcheck(there_and_back, (x,))


def test_pad_sequence() -> None:
    parts = [flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0])]
    assert rnn.pad_sequence(parts).tolist() == [[1, 3], [2, 0]]
    assert rnn.pad_sequence(parts, batch_first=True, padding_value=9.0).tolist() == [[1, 2], [3, 9]]
    assert rnn.pad_sequence(parts, batch_first=True, padding_side="left").tolist() == [[1, 2], [0, 3]]
    unpadded = rnn.unpad_sequence(rnn.pad_sequence(parts), flambeau.tensor([2, 1]))
    assert [part.tolist() for part in unpadded] == [[1, 2], [3]]


def test_packed_sequences_move_and_convert() -> None:
    packed = rnn.pack_sequence([flambeau.ones(2), flambeau.ones(3)], enforce_sorted=False)
    double = packed.double()
    assert isinstance(double, rnn.PackedSequence)
    assert double.data.dtype == flambeau.float64
    assert double.unsorted_indices.tolist() == [1, 0]
    assert packed.to("cpu") is packed
    assert not packed.is_cuda


@pytest.mark.parametrize(
    ("lengths", "kwargs", "message"),
    [
        ([2, 3], {}, "`lengths` array must be sorted in decreasing order"),
        ([3, 0], {}, "Length of all samples has to be greater than 0"),
        ([3], {}, "Expected `len(lengths)` to be equal to batch_size, but got 1 (batch_size=2)"),
        ([5, 2], {}, "Expected lengths of at most 4, the input's number of steps, got 5"),
    ],
)
def test_lengths_are_checked(lengths: list[int], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        rnn.pack_padded_sequence(flambeau.zeros(4, 2, 3), lengths, **kwargs)
    assert message in str(raised.value)


def test_total_length_is_checked() -> None:
    packed = rnn.pack_sequence([flambeau.zeros(3)])
    with pytest.raises(ValueError, match="total_length=2 and max sequence length being 3"):
        rnn.pad_packed_sequence(packed, total_length=2)
