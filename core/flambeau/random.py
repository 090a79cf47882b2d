"""Random numbers: generators, factory functions, sampling, and filling in place.

Random numbers are counter-based (:mod:`flambeau.ops.random`): a :class:`Generator` is a seed and a position in its
stream, and the same seed gives the same numbers on every device. There is one default generator for all devices.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import no_grad, state
from flambeau.creation import DeviceLike, finish, resolve_dtype, resolve_size
from flambeau.devices import device as device_class
from flambeau.devices import levels
from flambeau.dispatch import load
from flambeau.dtypes import dtype, float32, float64, int64, uint8
from flambeau.ops import random as ops
from flambeau.ops.call import TENSORS, apply
from flambeau.ops.spec import broadcast_shapes, numel
from flambeau.tensor import Tensor, wrap

__all__ = [
    "Generator", "bernoulli", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "seed",
    "set_rng_state",
]  # fmt: skip

# PyTorch's seed of a generator that nobody seeded.
DEFAULT_SEED = 67280421310721
_STATE_BYTES = 16


class Generator:
    """A source of random numbers (``torch.Generator``): a seed and a position in its stream.

    Args:
        device: kept as the attribute ``device``. The numbers are the same on every device, and a generator may be
            used for tensors of any.
    """

    def __init__(self, device: DeviceLike = "cpu") -> None:
        self.device = devices.get_default_device() if device is None else device_class(device)
        self._initial = self._seed = DEFAULT_SEED
        self._offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed`` from its beginning.

        Raises:
            RuntimeError: when the seed is not within [-2**63, 2**64).
        """
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise RuntimeError(f"manual_seed: expected a seed within [-2**63, 2**64), got {seed}")
        with self._lock:
            self._initial = self._seed = seed % (1 << 64)
            self._offset = 0
        return self

    def restart(self, seed: int) -> None:
        """Go to the beginning of another seed's stream; :meth:`initial_seed` stays as it is."""
        with self._lock:
            self._seed = seed
            self._offset = 0

    def seed(self) -> int:
        """Seed from the operating system's entropy and return the seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed that was last given."""
        return self._initial

    def reserve(self, blocks: int) -> tuple[int, int]:
        """Take ``blocks`` counter blocks from the stream; return the seed and the offset of the first."""
        with self._lock:
            offset = self._offset
            self._offset = offset + blocks
            return self._seed, offset

    def get_state(self) -> Tensor:
        """The state as a uint8 tensor on the CPU."""
        with self._lock:
            words = numpy.array([self._seed, self._offset], dtype="<u8")
        where = load(device_class("cpu"))
        return wrap(where.backend.from_numpy(words.view(numpy.uint8), where), uint8, where)  # type: ignore[union-attr]

    def set_state(self, new_state: Tensor) -> None:
        """Go to a state that :meth:`get_state` returned.

        Raises:
            TypeError: when it is not a uint8 tensor.
            RuntimeError: when it has another length.
        """
        if not isinstance(new_state, Tensor) or new_state.dtype is not uint8:
            found = new_state.dtype if isinstance(new_state, Tensor) else type(new_state).__name__
            raise TypeError(f"set_state: expected a flambeau.uint8 tensor, got {found}")
        if new_state.numel() != _STATE_BYTES:
            raise RuntimeError(f"set_state: expected a state of {_STATE_BYTES} bytes, got {new_state.numel()}")
        data = bytes(new_state.tolist())
        with self._lock:
            self._initial = self._seed = int.from_bytes(data[:8], "little")
            self._offset = int.from_bytes(data[8:], "little")

    def clone_state(self) -> Generator:
        """Another generator in the same state."""
        copied = Generator(self.device)
        with self._lock:
            copied._initial, copied._seed, copied._offset = self._initial, self._seed, self._offset
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_generator, (str(self.device), self._seed, self._offset)

    def __repr__(self) -> str:
        return f"<flambeau.Generator device={self.device} seed={self._seed} offset={self._offset}>"


def _rebuild_generator(device: str, seed: int, offset: int) -> Generator:
    generator = Generator(device)
    generator._initial, generator._seed, generator._offset = seed, seed, offset
    return generator


class _DefaultGenerator(Generator):
    """The generator of those who name none. A thread may have another in its place for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._in_place: dict[int, Generator] = {}  # by thread

    def exchange(self, other: Generator | None) -> Generator | None:
        """Let this thread use ``other`` instead (None: this one again); returns what it used instead until now."""
        thread = threading.get_ident()
        before = self._in_place.pop(thread, None)
        if other is not None:
            self._in_place[thread] = other
        return before

    def _other(self) -> Generator | None:
        return self._in_place.get(threading.get_ident()) if self._in_place else None

    def reserve(self, blocks: int) -> tuple[int, int]:
        other = self._other()
        return super().reserve(blocks) if other is None else other.reserve(blocks)

    def manual_seed(self, seed: int) -> Generator:
        other = self._other()
        if other is None:
            return super().manual_seed(seed)
        other.manual_seed(seed)
        return self

    def restart(self, seed: int) -> None:
        other = self._other()
        if other is None:
            super().restart(seed)
        else:
            other.restart(seed)

    def initial_seed(self) -> int:
        other = self._other()
        return self._initial if other is None else other.initial_seed()

    def get_state(self) -> Tensor:
        other = self._other()
        return super().get_state() if other is None else other.get_state()

    def set_state(self, new_state: Tensor) -> None:
        other = self._other()
        if other is None:
            super().set_state(new_state)
        else:
            other.set_state(new_state)

    def clone_state(self) -> Generator:
        other = self._other()
        return super().clone_state() if other is None else other.clone_state()


default_generator = _DefaultGenerator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator (``torch.manual_seed``) and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system's entropy and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Bring the default generator into a state that :func:`get_rng_state` returned."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Put the default generator back at the end of the block (``torch.random.fork_rng``).

    ``devices`` and ``device_type`` are accepted and ignored: one generator serves all devices.
    """
    if not enabled:
        yield
        return
    before = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(before)


# -- drawing -------------------------------------------------------------------------------------------------------


def _where(device: DeviceLike) -> device_class:
    return devices.get_default_device() if device is None else device_class(device)


def _draw(op: Any, size: tuple[int, ...], kind: dtype, device: device_class, generator: Generator | None) -> Tensor:
    """Run an op ``(size, dtype, seed, offset, device)`` on fresh numbers."""
    drawn = kind if op is ops.random_uniform else ops.normal_dtype(kind)

    def draw(size: tuple[int, ...], where: device_class) -> Tensor:
        elements = numel(size)
        if op is ops.random_normal:
            elements += elements % 2
        place = (generator or default_generator).reserve(ops.blocks_for(elements, drawn))
        result: Tensor = apply(op, [size, kind, *place, where])
        return result

    return _per_example(op.name, draw, size, device) if levels.stack else draw(size, device)


def _per_example(
    name: str, draw: Callable[[tuple[int, ...], device_class], Tensor], size: tuple[int, ...], device: device_class
) -> Tensor:
    """Inside of ``vmap``: what ``draw`` gives for each example, or one for all of them, as ``randomness`` says."""
    from flambeau.levels import bottom, enter, share

    if any(level.randomness == "error" for level in levels.stack):
        raise RuntimeError(
            f"vmap: called the random operation {name} while in randomness error mode. Pass randomness='different' or "
            "randomness='same' to vmap to say what is meant"
        )
    sizes = [level.size for level in levels.stack if level.randomness == "different"]
    drawn = draw((*sizes, *size), bottom(device))
    for level in levels.stack:
        drawn = enter(drawn, 0, level) if level.randomness == "different" else share(drawn, level)
    return drawn


def uniform(
    size: Sequence[int], dtype: dtype = float32, device: DeviceLike = None, generator: Generator | None = None
) -> Tensor:
    """Numbers uniform in [0, 1): what everything here is made of, and what dropout draws."""
    return _draw(ops.random_uniform, tuple(size), dtype, _where(device), generator)


def standard_normal(size: tuple[int, ...], kind: dtype, device: device_class, generator: Generator | None) -> Tensor:
    """Standard normal numbers of a floating-point or complex dtype."""
    if not kind.is_complex:
        return _draw(ops.random_normal, size, kind, device, generator)
    # Real and imaginary part share the variance 1.
    parts = _draw(ops.random_normal, (2, *size), kind.to_real(), device, generator)
    parts = TENSORS.mul(parts, 0.5**0.5)
    result: Tensor = TENSORS.complex(TENSORS.select(parts, 0, 0), TENSORS.select(parts, 0, 1))
    return result


def _uniform_of(size: tuple[int, ...], kind: dtype, device: device_class, generator: Generator | None) -> Tensor:
    if not kind.is_complex:
        return _draw(ops.random_uniform, size, kind, device, generator)
    parts = _draw(ops.random_uniform, (2, *size), kind.to_real(), device, generator)
    result: Tensor = TENSORS.complex(TENSORS.select(parts, 0, 0), TENSORS.select(parts, 0, 1))
    return result


def _floating(op: str, given: Any, default: dtype) -> dtype:
    kind = resolve_dtype(op, given, default)
    if kind.category < dtypes.FLOATING:
        raise NotImplementedError(f'{op}: "{op}" not implemented for {kind.name}; give a floating-point dtype')
    return kind


def rand(
    *size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None,
    layout: Any = None, device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return numbers uniform in [0, 1) (``torch.rand``): ``rand(2, 3)`` or ``rand((2, 3))``."""
    kind = _floating("rand", dtype, dtypes.get_default_dtype() if out is None else out.dtype)
    shape = resolve_size("rand", _sized("rand", size, named))
    return finish("random_uniform", _uniform_of(shape, kind, _where(device), generator), requires_grad, out)


def randn(
    *size: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None,
    layout: Any = None, device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return standard normal numbers (``torch.randn``): ``randn(2, 3)`` or ``randn((2, 3))``."""
    kind = _floating("randn", dtype, dtypes.get_default_dtype() if out is None else out.dtype)
    shape = resolve_size("randn", _sized("randn", size, named))
    return finish("random_normal", standard_normal(shape, kind, _where(device), generator), requires_grad, out)


def _sized(op: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    if not named:
        return size
    if set(named) == {"size"} and not size:
        return (named["size"],)
    raise TypeError(f"{op}() got an unexpected keyword argument '{next(iter(named))}'")


def randint(
    *args: Any, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None,
    layout: Any = None, device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return integers uniform in [low, high) (``torch.randint``): ``randint([low, ]high, size)``.

    Raises:
        RuntimeError: when the interval is empty.
    """
    values = dict(named)
    names: tuple[str, ...] = (
        ("low", "high", "size") if len(args) == 3 or "low" in named or "high" in named else ("high", "size")
    )
    names = tuple(name for name in names if name not in named)
    if len(args) > len(names):
        raise TypeError(f"randint() takes low, high and size, but {len(args)} positional arguments were given")
    values.update(zip(names[-len(args) :] if args else (), args, strict=True))
    if set(values) - {"low", "high", "size"}:
        raise TypeError(f"randint() got an unexpected keyword argument '{min(set(values) - {'low', 'high', 'size'})}'")
    for name in ("high", "size"):
        if name not in values:
            raise TypeError(f"randint() missing required argument: '{name}'")
    kind = resolve_dtype("randint", dtype, int64 if out is None else out.dtype)
    size = resolve_size("randint", (values["size"],))
    result = _integers("randint", size, values.get("low", 0), values["high"], kind, _where(device), generator)
    return finish("random_integers", result, requires_grad, out)


def _integers(
    op: str, size: tuple[int, ...], low: Any, high: Any, kind: dtype, device: device_class, generator: Generator | None
) -> Tensor:
    low, high = int(low), int(high)
    if low >= high:
        raise RuntimeError(f"{op}: expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if high - low > 1 << 63:
        raise RuntimeError(f"{op}: the interval [{low}, {high}) is wider than 2**63")

    def draw(size: tuple[int, ...], where: device_class) -> Tensor:
        place = (generator or default_generator).reserve(ops.integer_blocks(numel(size), low, high))
        result: Tensor = apply(ops.random_integers, [size, low, high, kind, *place, where])
        return result

    return _per_example(op, draw, size, device) if levels.stack else draw(size, device)


def randperm(
    n: int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: dtype | None = None,
    layout: Any = None, device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return the integers 0 to n - 1 in random order (``torch.randperm``)."""
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, got {n}")
    kind = resolve_dtype("randperm", dtype, int64 if out is None else out.dtype)
    if levels.stack:
        keys = _draw(ops.random_uniform, (int(n),), float64, _where(device), generator)
        order = TENSORS.sort(keys, 0, False, True)[1]
        return finish("random_permutation", order.to(kind), requires_grad, out)
    place = (generator or default_generator).reserve(ops.blocks_for(n, float64))
    result = apply(ops.random_permutation, [int(n), kind, *place, _where(device)])
    return finish("random_permutation", result, requires_grad, out)


def rand_like(
    input: Tensor, *, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return uniform numbers of ``input``'s shape, dtype and device (``torch.rand_like``)."""
    return rand(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, generator=generator,
        requires_grad=requires_grad,
    )  # fmt: skip


def randn_like(
    input: Tensor, *, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return standard normal numbers of ``input``'s shape, dtype and device (``torch.randn_like``)."""
    return randn(
        tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device, generator=generator,
        requires_grad=requires_grad,
    )  # fmt: skip


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, requires_grad: bool = False, memory_format: Any = None,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Return integers uniform in [low, high), or [0, low), of ``input``'s shape, dtype and device
    (``torch.randint_like``)."""
    low, high = (0, low) if high is None else (low, high)
    where = input.device if device is None else device_class(device)
    result = _integers("randint_like", tuple(input.shape), low, high, dtype or input.dtype, where, generator)
    return finish("random_integers", result, requires_grad)


# -- distributions -------------------------------------------------------------------------------------------------


def normal(
    mean: Any, std: Any = 1.0, size: Sequence[int] | None = None, *, generator: Generator | None = None,
    out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return normal numbers (``torch.normal``).

    Args:
        mean, std: tensors (broadcast against each other; the result has their shape) or numbers.
        size: the shape of the result when both are numbers.

    Raises:
        RuntimeError: for a negative standard deviation.
    """
    given = [value for value in (mean, std) if isinstance(value, Tensor)]
    if not given:
        if size is None:
            raise TypeError("normal() missing required argument: 'size', as mean and std are numbers")
        _check_std("normal", std)
        result = randn(tuple(size), generator=generator, dtype=dtype, device=device)
        return finish("random_normal", TENSORS.add(TENSORS.mul(result, std), mean), requires_grad, out)
    if size is not None:
        raise TypeError("normal() takes no argument 'size' when mean or std is a tensor")
    _check_std("normal", std)
    shape = broadcast_shapes("normal", *[tensor.shape for tensor in given])
    kind = dtypes.result_dtype(given)
    sample = standard_normal(shape, _floating("normal", None, kind), given[0].device, generator)
    return finish("random_normal", TENSORS.add(TENSORS.mul(sample, std), mean), False, out)


def _check_std(op: str, std: Any) -> None:
    lowest = std if not isinstance(std, Tensor) else (std.detach().min().item() if std.numel() else 0)
    if lowest < 0:
        raise RuntimeError(f"{op}: expects std >= 0.0, but found std {lowest}")


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """Return ones with the probabilities ``input`` (or ``p`` everywhere) and zeros, in ``input``'s dtype
    (``torch.bernoulli``).

    Raises:
        RuntimeError: when a probability is not within [0, 1].
    """
    return finish("random_uniform", _bernoulli("bernoulli", input, input if p is None else p, generator), False, out)


def _bernoulli(op: str, like: Tensor, p: Any, generator: Generator | None) -> Tensor:
    _check_probability(op, p)
    kind = float64 if getattr(p, "dtype", None) is float64 else float32
    drawn = uniform(like.shape, kind, like.device, generator)
    hit = TENSORS.lt(drawn, p.detach() if isinstance(p, Tensor) else float(p))
    result: Tensor = TENSORS.to_dtype(hit, like.dtype)
    return result


def _check_probability(op: str, p: Any) -> None:
    if isinstance(p, Tensor):
        if p.dtype.category != dtypes.FLOATING:
            raise RuntimeError(f"{op}: expected probabilities of a floating-point dtype, got {p.dtype}")
        if p.numel() == 0 or p.is_meta:
            return
        lowest, highest = p.detach().min().item(), p.detach().max().item()
    else:
        lowest = highest = p
    if not (lowest >= 0 and highest <= 1):
        raise RuntimeError(f"{op}: expects p to be in [0, 1], but got p from {lowest} to {highest}")


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return indices drawn with probabilities proportional to the rows of ``input`` (``torch.multinomial``).

    With replacement, uniforms are looked up in the cumulated probabilities. Without, the indices of the largest
    ``p / e`` are taken, with exponentially distributed e (Efraimidis and Spirakis, 2006).

    Args:
        input: shape (n,) or (rows, n), non-negative, not all zero; need not sum to one.
        num_samples: at most n without replacement.

    Returns:
        int64 indices of shape (num_samples,) or (rows, num_samples).
    """
    if input.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"multinomial: only supports floating-point dtypes for input, got {input.dtype}")
    if not 1 <= input.ndim <= 2:
        raise RuntimeError(f"multinomial: prob_dist must be 1 or 2 dim, got the shape {list(input.shape)}")
    if out is not None and out.dtype is not int64:
        raise RuntimeError(f"multinomial: expected an int64 tensor as out, got {out.dtype}")
    categories = input.shape[-1]
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > categories:
        raise RuntimeError(f"multinomial: cannot sample {num_samples} of {categories} categories without replacement")
    weights = input.detach()
    if weights.dtype is not float64:
        weights = weights.to(float32)
    _check_weights(weights)
    if replacement:
        cumulated = TENSORS.cumsum(weights, -1)
        total = TENSORS.slice(cumulated, input.ndim - 1, categories - 1, categories, 1)
        drawn = uniform((*input.shape[:-1], num_samples), weights.dtype, input.device, generator)
        index = TENSORS.searchsorted(cumulated, TENSORS.mul(drawn, total), True)
        # Rounding may put a draw at the very end; the last category with a weight is meant.
        last = TENSORS.sum(TENSORS.lt(cumulated, total), input.ndim - 1, True)
        index = TENSORS.minimum(index, last)
    else:
        waiting = _draw(ops.random_exponential, tuple(input.shape), weights.dtype, input.device, generator)
        index = TENSORS.topk(TENSORS.div(weights, waiting), num_samples, input.ndim - 1, True, True)[1]
    return finish("random_uniform", index, False, out)


def _check_weights(weights: Tensor) -> None:
    if weights.is_meta or weights.numel() == 0:
        return
    lowest, total = weights.min().item(), weights.sum(-1).min().item()
    if not (lowest >= 0 and total < float("inf")):
        raise RuntimeError("multinomial: probability tensor contains either `inf`, `nan` or element < 0")
    if total <= 0:
        raise RuntimeError("multinomial: invalid multinomial distribution (sum of probabilities <= 0)")


# -- in place: methods of Tensor --------------------------------------------------------------------------------------


def _fill(op: str, target: Tensor, values: Tensor) -> Tensor:
    """Write samples over a tensor; no gradient flows to what was there."""
    if state.enabled and target.requires_grad and target.is_leaf:
        raise RuntimeError(
            f"{op}: a leaf Variable that requires grad is being used in an in-place operation; "
            "wrap it in flambeau.no_grad() or work on a clone()"
        )
    target.copy_(values)
    return target


def uniform_(tensor: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers uniform in [from_, to) (``torch.Tensor.uniform_``)."""
    if from_ > to:
        raise RuntimeError(f"uniform_: expects to return a [from, to) range, but found from={from_} > to={to}")
    kind = _floating("uniform_", None, tensor.dtype)
    with no_grad():
        values = _uniform_of(tuple(tensor.shape), kind, tensor.device, generator)
        if from_ != 0.0 or to != 1.0:
            values = values.mul_(to - from_).add_(from_)
    return _fill("uniform_", tensor, values)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers (``torch.Tensor.normal_``)."""
    _check_std("normal_", std)
    kind = _floating("normal_", None, tensor.dtype)
    with no_grad():
        values = standard_normal(tuple(tensor.shape), kind, tensor.device, generator)
        if mean != 0.0 or std != 1.0:
            values = values.mul_(std).add_(mean)
    return _fill("normal_", tensor, values)


def bernoulli_(tensor: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones, with the probability ``p`` (a number or a tensor), and zeros (``torch.Tensor.bernoulli_``)."""
    return _fill("bernoulli_", tensor, _bernoulli("bernoulli_", tensor, p, generator))


def random_(
    tensor: Tensor, from_: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fill with integers (``torch.Tensor.random_``): ``random_()``, ``random_(to)`` or ``random_(from, to)``.

    Without bounds they are uniform in [0, the dtype's largest value], for floats [0, 2 ** mantissa bits].
    """
    if from_ is None:
        low, high = 0, _random_bound(tensor.dtype)
    elif to is None:
        low, high = 0, from_
    else:
        low, high = from_, to
    return _fill(
        "random_", tensor, _integers("random_", tuple(tensor.shape), low, high, tensor.dtype, tensor.device, generator)
    )


def _random_bound(kind: dtype) -> int:
    if kind.category == dtypes.BOOL:
        return 2
    if kind.category == dtypes.INTEGER:
        return dtypes.iinfo(kind).max + 1
    return round(2 / dtypes.finfo(kind).eps) + 1


def exponential_(tensor: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponentially distributed numbers of the rate ``lambd`` (``torch.Tensor.exponential_``)."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_: expects lambd > 0.0, but found lambd={lambd}")
    kind = _floating("exponential_", None, tensor.dtype)
    values = _draw(ops.random_exponential, tuple(tensor.shape), kind, tensor.device, generator)
    return _fill("exponential_", tensor, values if lambd == 1 else TENSORS.div(values, lambd))


def log_normal_(tensor: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with the exponentials of normal numbers (``torch.Tensor.log_normal_``)."""
    if std <= 0:
        raise RuntimeError(f"log_normal_: expects std > 0.0, but found std={std}")
    kind = _floating("log_normal_", None, tensor.dtype)
    values = standard_normal(tuple(tensor.shape), kind, tensor.device, generator)
    return _fill("log_normal_", tensor, TENSORS.exp(TENSORS.add(TENSORS.mul(values, std), mean)))


def cauchy_(tensor: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy distributed numbers (``torch.Tensor.cauchy_``): ``median + sigma tan(pi (u - 1/2))``."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_: expects sigma > 0.0, but found sigma={sigma}")
    drawn = uniform(tensor.shape, _floating("cauchy_", None, tensor.dtype), tensor.device, generator)
    angle = TENSORS.mul(TENSORS.sub(drawn, 0.5), numpy.pi)
    return _fill("cauchy_", tensor, TENSORS.add(TENSORS.mul(TENSORS.tan(angle), sigma), median))


def geometric_(tensor: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials of probability ``p`` up to the first success (``torch.Tensor.geometric_``)."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: expects p to be in (0, 1), but got p={p}")
    waiting = _draw(ops.random_exponential, tuple(tensor.shape), float32, tensor.device, generator)
    trials = TENSORS.ceil(TENSORS.div(waiting, float(-numpy.log1p(-p))))
    return _fill("geometric_", tensor, TENSORS.to_dtype(TENSORS.clamp(trials, 1.0, None), tensor.dtype))
