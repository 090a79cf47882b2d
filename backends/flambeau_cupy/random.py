"""Random numbers: the uniform stream from which everything else is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy

from flambeau.dtypes import bfloat16, dtype, float16, float64
from flambeau_cupy.maps import run

# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): Philox 4x64 with 10 rounds.
PHILOX = r"""
typedef unsigned long long word_t;
struct Words { word_t w[4]; };
static __device__ Words philox(Words c, word_t k0, word_t k1) {
    for (int round = 0; round < 10; ++round) {
        word_t h0 = __umul64hi(c.w[0], 0xD2E7470EE14C6C93ull), l0 = c.w[0] * 0xD2E7470EE14C6C93ull;
        word_t h1 = __umul64hi(c.w[2], 0xCA5A826395121157ull), l1 = c.w[2] * 0xCA5A826395121157ull;
        c.w[0] = h1 ^ c.w[1] ^ k0; c.w[1] = l1; c.w[2] = h0 ^ c.w[3] ^ k1; c.w[3] = l0;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
    return c;
}
static __device__ Words advanced(Words c, word_t steps) {
    c.w[0] += steps;
    if (c.w[0] < steps && ++c.w[1] == 0 && ++c.w[2] == 0) ++c.w[3];
    return c;
}
"""

# A thread makes the numbers of one block of four words. NumPy counts before it computes a block.
_BLOCK = """
Words c; c.w[0] = n1; c.w[1] = n2; c.w[2] = n3; c.w[3] = n4;
c = philox(advanced(c, (word_t)i + 1), n5, n6);
long long start = (long long)i * {each};
for (int k = 0; k < {each} && start + k < (long long)n0; ++k) {{ {number} }}
"""
_DOUBLE = "store(q0, start + k, (double)(c.w[k] >> 11) * (1.0 / 9007199254740992.0));"
_SINGLE = "store(q0, start + k, (float)((unsigned int)(c.w[k >> 1] >> (32 * (k & 1))) >> {shift}) * {scale}f);"


def random_uniform(size: tuple[int, ...], dtype: dtype, seed: int, offset: int, device: Any = None) -> Any:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    The same bits as on the CPU: 53 of a word for float64, 24 of half a word for float32, the low half first, of which
    the 16-bit types keep 11 and 8.
    """
    result = cupy.empty(size, dtype.numpy)
    if not result.size:
        return result
    if dtype is float64:
        each, number = 4, _DOUBLE
    else:
        bits = 11 if dtype is float16 else 8 if dtype is bfloat16 else 24
        each, number = 8, _SINGLE.format(shift=32 - bits, scale=2.0**-bits)
    words = [result.size]
    words += [offset >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(4)]
    words += [seed >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(2)]
    count = -(-result.size // each)
    numbers = [("unsigned long long", w) for w in words]
    body = _BLOCK.format(each=each, number=number)
    run("philox", body, [result.reshape(-1)[:1]], [], numbers, "r0", PHILOX, shape=(count,))
    return result


KERNELS: dict[str, Callable[..., Any]] = {"random_uniform": random_uniform}
