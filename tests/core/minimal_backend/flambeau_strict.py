"""A Flambeau backend in less than a hundred lines: the arrays of array_api_strict as the device type ``strict``."""

import array_api_strict as strict
import numpy

from flambeau.dispatch import Backend
from flambeau.dtypes import DTYPES
from flambeau.hookspec import hookimpl

HELD = {getattr(strict, name): kind for name, kind in DTYPES.items() if hasattr(strict, name)}
SAME = """abs sign floor ceil trunc exp expm1 log log1p log2 log10 sqrt sin cos tan asin acos atan sinh cosh tanh asinh
    acosh atanh atan2 isfinite isinf isnan floor_divide remainder pow maximum minimum where matmul add bitwise_and
    bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift"""
RENAMED = """neg:negative sub:subtract mul:multiply div:divide eq:equal ne:not_equal lt:less le:less_equal gt:greater
    ge:greater_equal bitwise_not:bitwise_invert permute:permute_dims expand:broadcast_to"""


def native(kind):
    return getattr(strict, kind.name)


def of_bools(call):
    return lambda *args: call(*[strict.astype(a, strict.bool) for a in args])


def reduction(call, kind_of=lambda x, dtype: x.dtype):
    def reduce(x, dim, keepdim=False, dtype=None):
        return call(strict.astype(x, kind_of(x, dtype)), axis=dim, keepdims=keepdim)

    return reduce


def sum_kind(x, dtype):
    return native(dtype) if dtype else x.dtype if HELD[x.dtype].category > 1 else strict.int64


def view(x, size):
    try:
        return strict.reshape(x, size, copy=False)
    except (AttributeError, ValueError) as error:
        raise RuntimeError(f"view: {error}") from error


def assign(target, value):
    target[...] = strict.astype(value, target.dtype) if hasattr(value, "dtype") else value
    return target


def scatter_add(x, dim, index, src):
    places = strict.astype(strict.expand_dims(index, axis=-1) == strict.arange(x.shape[dim]), src.dtype)
    spread = strict.sum(places * strict.expand_dims(src, axis=-1), axis=dim)
    return x + strict.moveaxis(spread, -1, dim)


def random_uniform(size, dtype, seed, offset, device=None):
    count = int(numpy.prod(size))
    words = numpy.random.Philox(key=seed, counter=offset).random_raw((count + 1) // 2)
    halves = words.view(numpy.uint32)[:count]  # of a little-endian machine
    return strict.asarray(((halves >> 8) * 2.0**-24).astype(numpy.float32).reshape(size))


KERNELS = {
    **{name: getattr(strict, name) for name in SAME.split()},
    **{name: getattr(strict, theirs) for name, theirs in (pair.split(":") for pair in RENAMED.split())},
    **{name: of_bools(getattr(strict, name)) for name in ("logical_and", "logical_or", "logical_xor", "logical_not")},
    **{name: reduction(getattr(strict, name.replace("am", "m"))) for name in ("amax", "amin", "argmax", "argmin")},
    **{name: reduction(getattr(strict, name), lambda x, dtype: strict.bool) for name in ("all", "any")},
    **{name: reduction(getattr(strict, name), sum_kind) for name in ("sum", "prod")},
    "full": lambda size, value, dtype, device=None: strict.full(size, value, dtype=native(dtype)),
    "arange": lambda start, end, step, dtype, device=None: strict.astype(
        strict.arange(start, end, step), native(dtype)
    ),
    "to_dtype": lambda x, dtype: strict.astype(x, native(dtype)),
    "clone": lambda x: strict.asarray(numpy.array(x, order="C")),
    "cat": lambda tensors, dim=0: strict.concat(tensors, axis=dim),
    "gather": lambda x, dim, index: strict.take_along_axis(x, index, axis=dim),
    "slice": lambda x, dim, start, end, step: x[(slice(None),) * dim + (slice(start, end, step), ...)],
    **{function.__name__: function for function in (view, assign, scatter_add, random_uniform)},
}


class StrictBackend(Backend):
    name = "strict"
    array_type = type(strict.asarray(0))
    dtypes = frozenset(kind.name for kind in HELD.values())
    kernels = lambda self: KERNELS
    dtype_of = lambda self, array: HELD[array.dtype]
    from_numpy = lambda self, array, device: strict.asarray(array, copy=True)
    to_numpy = lambda self, array: numpy.asarray(array)


@hookimpl
def flambeau_backends():
    return [StrictBackend()]
