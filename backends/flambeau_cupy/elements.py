"""How each dtype is stored and computed with in CUDA C++, and the functions that every kernel of ours begins with.

The 16-bit floats are only stored: kernels compute with them in ``float``. No header is included: CuPy's wheel alone has
none of CUDA's, and what is needed of them is a few lines.
"""

from __future__ import annotations

from typing import Any

import numpy

from flambeau.dtypes import _FROM_NUMPY, dtype, from_numpy_dtype

#: By the dtype's name: the type in memory, and the type of a value in a kernel.
_TYPES = {
    "bool": ("bool", "bool"),
    "uint8": ("unsigned char", "unsigned char"),
    "int8": ("signed char", "signed char"),
    "int16": ("short", "short"),
    "uint16": ("unsigned short", "unsigned short"),
    "int32": ("int", "int"),
    "uint32": ("unsigned int", "unsigned int"),
    "int64": ("long long", "long long"),
    "uint64": ("unsigned long long", "unsigned long long"),
    "float16": ("half_bits", "float"),
    "bfloat16": ("bfloat_bits", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "complex64": ("complex<float>", "complex<float>"),
    "complex128": ("complex<double>", "complex<double>"),
}

#: The dtypes that a CUDA device can hold here.
HELD = frozenset(_TYPES)


def own_dtype(array: Any) -> dtype:
    """The Flambeau dtype of an array."""
    return _FROM_NUMPY.get(array.dtype) or from_numpy_dtype(array.dtype)


def storage(kind: dtype) -> str:
    """The C++ type of an element in memory."""
    return _TYPES[kind.name][0]


def compute(kind: dtype) -> str:
    """The C++ type of a value in a kernel."""
    return _TYPES[kind.name][1]


def is_half(array: Any) -> bool:
    """Whether the elements have 16 bits (float16, bfloat16), too few to add up many of them."""
    return array.dtype.char in "eE"


def accumulated(array: Any) -> Any:
    """The NumPy dtype in which sums of the elements are made, and statistics kept."""
    return numpy.dtype(numpy.float32) if is_half(array) else array.dtype


#: What every source begins with. ``load`` and ``store`` convert between memory and the type that is computed with.
PRELUDE = r"""
#define INF __int_as_float(0x7f800000)

struct half_bits { unsigned short bits; };
struct bfloat_bits { unsigned short bits; };

template <class R> struct complex {
    R x, y;
    __device__ complex() {}
    __device__ complex(R re, R im = 0) : x(re), y(im) {}
    template <class S> __device__ explicit complex(complex<S> a) : x(a.x), y(a.y) {}
};
#define COMPLEX template <class R> static __device__
COMPLEX complex<R> operator+(complex<R> a, complex<R> b) { return complex<R>(a.x + b.x, a.y + b.y); }
COMPLEX complex<R> operator-(complex<R> a, complex<R> b) { return complex<R>(a.x - b.x, a.y - b.y); }
COMPLEX complex<R> operator*(complex<R> a, complex<R> b) {
    return complex<R>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
COMPLEX complex<R> operator/(complex<R> a, R b) { return complex<R>(a.x / b, a.y / b); }
COMPLEX complex<R> &operator+=(complex<R> &a, complex<R> b) { a.x += b.x; a.y += b.y; return a; }
COMPLEX bool operator!=(complex<R> a, int b) { return a.x != b || a.y != 0; }

#ifndef ON_HOST
static __device__ float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
static __device__ unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif
static __device__ float to_float(half_bits a) { return half_to_float(a.bits); }
static __device__ float to_float(bfloat_bits a) { return __int_as_float((int)a.bits << 16); }
static __device__ unsigned short float_to_bfloat(float value) {
    // To nearest, ties to even; NaN stays NaN.
    unsigned int bits = (unsigned int)__float_as_int(value);
    return value != value ? 0x7fc0 : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <class T> static __device__ T load(const T *p, long long i) { return p[i]; }
static __device__ float load(const half_bits *p, long long i) { return to_float(p[i]); }
static __device__ float load(const bfloat_bits *p, long long i) { return to_float(p[i]); }
template <class T, class V> static __device__ void store(T *p, long long i, V value) { p[i] = (T)value; }
static __device__ void store(half_bits *p, long long i, float value) { p[i].bits = float_to_half(value); }
static __device__ void store(bfloat_bits *p, long long i, float value) { p[i].bits = float_to_bfloat(value); }

template <class T> static __device__ T larger(T a, T b) { return b > a || b != b ? b : a; }
template <class T> static __device__ T smaller(T a, T b) { return b < a || b != b ? b : a; }
"""
