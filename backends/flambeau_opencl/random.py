"""Random numbers: the uniform stream from which everything else is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import bfloat16, dtype, float16, float64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.maps import run
from flambeau_opencl.runtime import runtime

# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): Philox 4x64 with 10 rounds.
_PHILOX = """
#ifdef __SIZEOF_INT128__  /* a product in one instruction where OpenCL's function is a call */
#define HIGH(a, b) ((ulong)(((unsigned __int128)(a) * (b)) >> 64))
#else
#define HIGH(a, b) mul_hi((ulong)(a), (ulong)(b))
#endif
void philox(ulong4 c, ulong k0, ulong k1, ulong *word) {
    for (int round = 0; round < 10; ++round) {
        ulong h0 = HIGH(c.s0, 0xD2E7470EE14C6C93UL), l0 = c.s0 * 0xD2E7470EE14C6C93UL;
        ulong h1 = HIGH(c.s2, 0xCA5A826395121157UL), l1 = c.s2 * 0xCA5A826395121157UL;
        c = (ulong4)(h1 ^ c.s1 ^ k0, l1, h0 ^ c.s3 ^ k1, l0);
        k0 += 0x9E3779B97F4A7C15UL;
        k1 += 0xBB67AE8584CAA73BUL;
    }
    word[0] = c.s0; word[1] = c.s1; word[2] = c.s2; word[3] = c.s3;
}
ulong4 counter(ulong4 c, ulong steps) {
    c.s0 += steps;
    if (c.s0 < steps && ++c.s1 == 0 && ++c.s2 == 0) ++c.s3;
    return c;
}
"""

# A work-item makes the numbers of one block of four words. NumPy counts before it computes a block.
_BLOCK = """
ulong word[4];
philox(counter((ulong4)(n1, n2, n3, n4), (ulong)i + 1), n5, n6, word);
long first = (long)i * {each};
for (int k = 0; k < {each} && first + k < (long)n0; ++k) {{ {number} }}
"""

_DOUBLE = "OUT0(y0 + first + k, (word[k] >> 11) * (1.0 / 9007199254740992.0));"
_SINGLE = "OUT0(y0 + first + k, ((uint)(word[k >> 1] >> (32 * (k & 1))) >> {shift}) * {scale}f);"


def random_uniform(size: tuple[int, ...], dtype: dtype, seed: int, offset: int, device: Any = None) -> Array:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    The same bits as on the CPU: 53 of a word for float64, 24 of half a word for float32, the low half first, of which
    the 16-bit types keep 11 and 8.
    """
    result = empty(runtime(device), size, dtype)
    if not result.size:
        return result
    if dtype is float64:
        each, body = 4, _DOUBLE
    else:
        bits = 11 if dtype is float16 else 8 if dtype is bfloat16 else 24
        each, body = 8, _SINGLE.format(shift=32 - bits, scale=2.0**-bits)
    words = [result.size]
    words += [offset >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(4)]
    words += [seed >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(2)]
    blocks = -(-result.size // each)
    body = _BLOCK.format(each=each, number=body)
    origin = result.window((1,), (0,), result.offset)
    run("philox", body, [origin], [], [("ulong", w) for w in words], "r0", _PHILOX, shape=(blocks,))
    return result


KERNELS: dict[str, Callable[..., Any]] = {"random_uniform": random_uniform}
