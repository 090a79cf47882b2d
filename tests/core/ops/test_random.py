"""Random numbers: the stream, the generators, the distributions."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import flambeau
from flambeau.random import DEFAULT_SEED, Generator, default_generator


@pytest.fixture(autouse=True)
def seeded():
    before = default_generator.get_state()
    flambeau.manual_seed(0)
    yield
    default_generator.set_state(before)


def words(seed: int, blocks: int, n: int) -> np.ndarray:
    return np.random.Philox(key=seed, counter=blocks).random_raw(n)


def float64_stream(seed: int, blocks: int, n: int) -> np.ndarray:
    return (words(seed, blocks, n) >> np.uint64(11)) * 2.0**-53


def halves(seed: int, blocks: int, n: int) -> np.ndarray:
    raw = words(seed, blocks, (n + 1) // 2)
    both = np.stack([raw & np.uint64(0xFFFFFFFF), raw >> np.uint64(32)], 1).reshape(-1)
    return both[:n].astype(np.uint32)


# -- the stream -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_uniforms_are_the_philox_stream_of_numpy(shape, seed):
    n = int(np.prod(shape))
    flambeau.manual_seed(seed)
    np.testing.assert_array_equal(
        flambeau.rand(shape, dtype=flambeau.float64).numpy(), float64_stream(seed, 0, n).reshape(shape)
    )
    flambeau.manual_seed(seed)
    expected = (halves(seed, 0, n) >> 8) * np.float32(2.0**-24)
    np.testing.assert_array_equal(flambeau.rand(shape).numpy(), expected.reshape(shape))
    flambeau.manual_seed(seed)
    expected = ((halves(seed, 0, n) >> 21) * 2.0**-11).astype(np.float16)
    np.testing.assert_array_equal(flambeau.rand(shape, dtype=flambeau.float16).numpy(), expected.reshape(shape))


def test_each_draw_continues_behind_the_last_in_whole_blocks():
    flambeau.rand(5, dtype=flambeau.float64)  # 5 words: 2 blocks
    np.testing.assert_array_equal(flambeau.rand(3, dtype=flambeau.float64).numpy(), float64_stream(0, 2, 3))
    flambeau.rand(9)  # 5 words: 2 blocks, after the one block of the 3
    np.testing.assert_array_equal(flambeau.rand(1, dtype=flambeau.float64).numpy(), float64_stream(0, 5, 1))


def test_normals_are_box_muller_of_the_uniforms():
    for n in (6, 7):
        flambeau.manual_seed(3)
        half = (n + 1) // 2
        u, v = float64_stream(3, 0, 2 * half).reshape(2, half)
        radius = np.sqrt(-2 * np.log(1 - u))
        expected = np.concatenate([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)])[:n]
        np.testing.assert_allclose(flambeau.randn(n, dtype=flambeau.float64).numpy(), expected, rtol=1e-12)


def test_integers_and_permutations_follow_the_uniforms():
    found = flambeau.randint(-2, 9, (4, 5))
    np.testing.assert_array_equal(found.numpy(), np.floor(float64_stream(0, 0, 20) * 11).reshape(4, 5) - 2)
    flambeau.manual_seed(0)
    np.testing.assert_array_equal(flambeau.randperm(20).numpy(), np.argsort(float64_stream(0, 0, 20), kind="stable"))


# -- generators -----------------------------------------------------------------------------------------------------


def test_a_seed_repeats():
    first = flambeau.manual_seed(42)
    assert first is flambeau.default_generator

    def draw():
        return [flambeau.rand(3), flambeau.randn(3), flambeau.randint(10, (3,)), flambeau.randperm(5)]

    drawn = draw()
    flambeau.manual_seed(42)
    for before, again in zip(drawn, draw(), strict=True):
        assert before.tolist() == again.tolist()
    assert flambeau.initial_seed() == 42


def test_an_unseeded_generator_has_pytorchs_seed_and_seed_draws_one():
    generator = Generator()
    assert generator.initial_seed() == DEFAULT_SEED == 67280421310721
    seed = generator.seed()
    assert seed == generator.initial_seed() != Generator().seed()
    assert generator.manual_seed(-1).initial_seed() == 2**64 - 1
    with pytest.raises(
        RuntimeError, match=r"manual_seed: expected a seed within \[-2\*\*63, 2\*\*64\), got 18446744073709551616"
    ):
        generator.manual_seed(2**64)


def test_states_are_saved_and_restored():
    generator = Generator().manual_seed(5)
    flambeau.rand(7, generator=generator)
    state = generator.get_state()
    assert state.dtype is flambeau.uint8
    drawn = flambeau.rand(3, generator=generator).tolist()
    for other in (generator, Generator()):
        other.set_state(state)
        assert flambeau.rand(3, generator=other).tolist() == drawn
    generator.set_state(state)
    for other in (generator.clone_state(), pickle.loads(pickle.dumps(generator)), copy.deepcopy(generator)):
        assert flambeau.rand(3, generator=other).tolist() == drawn
    state = flambeau.get_rng_state()
    drawn = flambeau.randn(2).tolist()
    flambeau.set_rng_state(state)
    assert flambeau.randn(2).tolist() == drawn
    with pytest.raises(TypeError, match="set_state: expected a flambeau.uint8 tensor, got flambeau.float32"):
        generator.set_state(flambeau.zeros(16))
    with pytest.raises(RuntimeError, match="set_state: expected a state of 16 bytes, got 3"):
        generator.set_state(flambeau.zeros(3, dtype=flambeau.uint8))


def test_fork_rng_restores():
    flambeau.rand(1)
    expected = flambeau.get_rng_state().tolist()
    with flambeau.fork_rng():
        flambeau.manual_seed(9)
        flambeau.rand(5)
    assert flambeau.get_rng_state().tolist() == expected
    with flambeau.fork_rng(enabled=False):
        flambeau.rand(1)
    assert flambeau.get_rng_state().tolist() != expected


def test_threads_never_draw_the_same_numbers():
    generator = Generator()
    places: list[tuple[int, int]] = []

    def draw() -> None:
        places.extend(generator.reserve(3) for _ in range(500))

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(offset for _, offset in places) == list(range(0, 12000, 3))


def test_the_default_generator_is_not_touched_when_another_is_given():
    before = flambeau.get_rng_state().tolist()
    own = Generator()
    flambeau.rand(2, generator=own)
    flambeau.randn(2, generator=own)
    flambeau.randint(5, (2,), generator=own)
    flambeau.randperm(5, generator=own)
    flambeau.bernoulli(flambeau.full((3,), 0.5), generator=own)
    flambeau.multinomial(flambeau.ones(3), 2, generator=own)
    flambeau.normal(0.0, 1.0, (3,), generator=own)
    flambeau.zeros(3).uniform_(generator=own).normal_(generator=own).exponential_(generator=own)
    assert flambeau.get_rng_state().tolist() == before


# -- distributions --------------------------------------------------------------------------------------------------

N = 20000  # enough that a wrong mean or variance is many standard errors away


def close_to(values: np.ndarray, mean: float, variance: float) -> None:
    """Within five standard errors."""
    values = values.astype(np.float64)
    assert abs(values.mean() - mean) < 5 * np.sqrt(variance / values.size)
    assert abs(values.var() - variance) < 0.15 * variance


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_and_normal_moments(dtype):
    kind = getattr(flambeau, dtype)
    uniform = flambeau.rand(N, dtype=kind).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    close_to(uniform, 0.5, 1 / 12)
    normal = flambeau.randn(N, dtype=kind).numpy().astype(np.float64)
    close_to(normal, 0, 1)
    assert abs((normal**3).mean()) < 0.1
    assert abs((normal**4).mean() - 3) < 0.3
    # The two halves that Box and Muller make of the same uniforms are not correlated.
    assert abs(np.corrcoef(normal[: N // 2], normal[N // 2 :])[0, 1]) < 0.05


def test_complex_normals_have_variance_one():
    values = flambeau.randn(N, dtype=flambeau.complex64).numpy()
    close_to(values.real, 0, 0.5)
    close_to(values.imag, 0, 0.5)
    assert abs(np.corrcoef(values.real, values.imag)[0, 1]) < 0.05


def test_randint():
    values = flambeau.randint(3, 8, (N,))
    assert values.dtype is flambeau.int64
    counts = np.bincount(values.numpy(), minlength=8)
    assert (counts[:3] == 0).all()
    assert abs(counts[3:] / N - 0.2).max() < 0.02
    assert flambeau.randint(4, (2, 3), dtype=flambeau.float32).dtype is flambeau.float32
    assert flambeau.randint(low=1, high=2, size=(2,)).tolist() == [1, 1]
    wide = flambeau.randint(0, 2**62 + 1, (1000,)).numpy()
    assert wide.max() > 2**61
    assert len(np.unique(wide % 1024)) > 500  # the low bits are random too
    with pytest.raises(RuntimeError, match="randint: expects 'from' to be less than 'to', but got from=3 >= to=3"):
        flambeau.randint(3, 3, (1,))
    with pytest.raises(TypeError, match=r"randint\(\) missing required argument: 'size'"):
        flambeau.randint(high=3)


def test_randperm_is_a_permutation():
    assert sorted(flambeau.randperm(100).tolist()) == list(range(100))
    assert flambeau.randperm(0).shape == (0,)
    assert flambeau.randperm(5, dtype=flambeau.int32).dtype is flambeau.int32
    first = flambeau.tensor([flambeau.randperm(4)[0].item() for _ in range(2000)])
    assert abs(np.bincount(first.numpy()) / 2000 - 0.25).max() < 0.06


def test_normal_with_tensors_and_numbers():
    mean = flambeau.tensor([0.0, 100.0])
    drawn = flambeau.normal(mean.expand(N, 2), 2.0).numpy()
    close_to(drawn[:, 0], 0, 4)
    close_to(drawn[:, 1], 100, 4)
    drawn = flambeau.normal(3.0, flambeau.tensor([0.5]).expand(N)).numpy()
    close_to(drawn, 3, 0.25)
    close_to(flambeau.normal(1.0, 3.0, (N,)).numpy(), 1, 9)
    with pytest.raises(RuntimeError, match=r"normal: expects std >= 0.0, but found std -1"):
        flambeau.normal(0.0, -1.0, (2,))
    with pytest.raises(TypeError, match="missing required argument: 'size'"):
        flambeau.normal(0.0, 1.0)


def test_bernoulli():
    probabilities = flambeau.tensor([0.0, 0.3, 1.0]).expand(N, 3)
    drawn = flambeau.bernoulli(probabilities)
    assert drawn.dtype is flambeau.float32
    rates = drawn.numpy().mean(0)
    assert rates[0] == 0
    assert rates[2] == 1
    assert abs(rates[1] - 0.3) < 0.02
    assert set(np.unique(flambeau.zeros(50, dtype=flambeau.int64).bernoulli_(0.5).numpy())) == {0, 1}
    with pytest.raises(RuntimeError, match=r"bernoulli: expects p to be in \[0, 1\], but got p from 0.0 to 2.0"):
        flambeau.bernoulli(flambeau.tensor([0.0, 2.0]))


def test_multinomial_with_replacement_follows_the_weights():
    weights = flambeau.tensor([[0.0, 1.0, 3.0, 0.0], [5.0, 0.0, 0.0, 5.0]])
    drawn = flambeau.multinomial(weights, N, replacement=True)
    assert drawn.shape == (2, N)
    assert drawn.dtype is flambeau.int64
    np.testing.assert_allclose(np.bincount(drawn[0].numpy(), minlength=4) / N, [0, 0.25, 0.75, 0], atol=0.02)
    np.testing.assert_allclose(np.bincount(drawn[1].numpy(), minlength=4) / N, [0.5, 0, 0, 0.5], atol=0.02)


def test_multinomial_without_replacement_draws_each_once():
    weights = flambeau.tensor([1.0, 2.0, 3.0, 4.0]).expand(N, 4)
    drawn = flambeau.multinomial(weights, 2).numpy()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    np.testing.assert_allclose(np.bincount(drawn[:, 0]) / N, [0.1, 0.2, 0.3, 0.4], atol=0.02)
    # After i, j comes with the weight that it has among the others.
    second = np.array([sum(w / 10 * v / (10 - w) for w in (1, 2, 3, 4) if w != v) for v in (1, 2, 3, 4)])
    np.testing.assert_allclose(np.bincount(drawn[:, 1]) / N, second, atol=0.02)
    assert sorted(flambeau.multinomial(flambeau.ones(6), 6).tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("weights", "samples", "message"),
    [
        ([1.0, 1.0], 3, "multinomial: cannot sample 3 of 2 categories without replacement"),
        ([0.0, 0.0], 1, r"invalid multinomial distribution \(sum of probabilities <= 0\)"),
        ([1.0, -1.0], 1, "contains either `inf`, `nan` or element < 0"),
        ([1.0, float("nan")], 1, "contains either `inf`, `nan` or element < 0"),
        ([1.0], 0, "cannot sample n_sample <= 0 samples, got 0"),
        ([[[1.0]]], 1, r"prob_dist must be 1 or 2 dim, got the shape \[1, 1, 1\]"),
    ],
)
def test_multinomial_errors(weights, samples, message):
    with pytest.raises(RuntimeError, match=message):
        flambeau.multinomial(flambeau.tensor(weights), samples)


def test_filling_in_place():
    tensor = flambeau.zeros(N)
    view = tensor[:10]
    assert tensor.uniform_(-1, 3) is tensor
    assert view.abs().sum() > 0
    close_to(tensor.numpy(), 1, 16 / 12)
    close_to(tensor.normal_(2, 3).numpy(), 2, 9)
    close_to(tensor.exponential_(2).numpy(), 0.5, 0.25)
    close_to(tensor.geometric_(0.25).numpy(), 4, 12)
    close_to(np.log(tensor.log_normal_(1, 0.5).numpy()), 1, 0.25)
    assert abs(np.median(tensor.cauchy_(5, 2).numpy()) - 5) < 0.2
    close_to(tensor.random_(10).numpy(), 4.5, 99 / 12)
    close_to(tensor.random_(5, 10).numpy(), 7, 2)
    integers = flambeau.zeros(N, dtype=flambeau.uint8).random_().numpy()
    assert integers.min() == 0
    assert integers.max() == 255


def test_filling_is_refused_for_a_leaf_and_allowed_without_grad():
    leaf = flambeau.zeros(3, requires_grad=True)
    with pytest.raises(
        RuntimeError, match="^uniform_: a leaf Variable that requires grad is being used in an in-place"
    ):
        leaf.uniform_()
    with flambeau.no_grad():
        leaf.normal_()
    assert leaf.requires_grad
    assert leaf.is_leaf
    assert leaf.abs().sum() > 0


def test_filling_ends_the_gradient_of_what_was_there():
    leaf = flambeau.ones(3, requires_grad=True)
    result = leaf * 2
    result.uniform_()
    result.sum().backward()
    assert leaf.grad is None or leaf.grad.abs().sum() == 0


def test_wrong_parameters_are_named():
    tensor = flambeau.zeros(2)
    for call, message in (
        (lambda: tensor.uniform_(3, 1), r"uniform_: expects to return a \[from, to\) range, but found from=3 > to=1"),
        (lambda: tensor.normal_(0, -1), "normal_: expects std >= 0.0, but found std -1"),
        (lambda: tensor.exponential_(0), "exponential_: expects lambd > 0.0, but found lambd=0"),
        (lambda: tensor.geometric_(1.5), r"geometric_: expects p to be in \(0, 1\), but got p=1.5"),
        (lambda: tensor.bernoulli_(2), r"bernoulli_: expects p to be in \[0, 1\]"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
    with pytest.raises(NotImplementedError, match='"rand" not implemented for int64'):
        flambeau.rand(2, dtype=flambeau.int64)


def test_like_functions_and_meta():
    base = flambeau.zeros(2, 3, dtype=flambeau.float64)
    assert flambeau.rand_like(base).dtype is flambeau.float64
    assert flambeau.randn_like(base).shape == (2, 3)
    assert flambeau.randint_like(base, 5).dtype is flambeau.float64
    assert flambeau.randint_like(base, 5, 6).tolist() == [[5] * 3] * 2
    for make in (flambeau.rand, flambeau.randn, lambda *size, device: flambeau.randint(3, size, device=device)):
        assert make(2, 3, device="meta").shape == (2, 3)
