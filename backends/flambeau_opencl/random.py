"""Random numbers: the uniform stream from which everything else is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flambeau.dtypes import bfloat16, dtype, float16, float64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.maps import run
from flambeau_opencl.runtime import runtime

# Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): Philox 4x64 with 10 rounds. In numbers by
# themselves: a vector goes back and forth between the registers of a CPU (18 ms for 3 million numbers instead of 8).
_PHILOX = """
#ifdef __SIZEOF_INT128__  /* a product in one instruction where OpenCL's function is a call */
#define PRODUCT(high, low, a, b) \\
    { unsigned __int128 product = (unsigned __int128)(a) * (b); high = (ulong)(product >> 64); low = (ulong)product; }
#else
#define PRODUCT(high, low, a, b) { high = mul_hi((ulong)(a), (ulong)(b)); low = (a) * (b); }
#endif
#define ROUND { \\
    ulong h0, l0, h1, l1; \\
    PRODUCT(h0, l0, c0, 0xD2E7470EE14C6C93UL) PRODUCT(h1, l1, c2, 0xCA5A826395121157UL) \\
    c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0; \\
    k0 += 0x9E3779B97F4A7C15UL; k1 += 0xBB67AE8584CAA73BUL; }
"""

# A work-item makes the numbers of one block of four words. NumPy counts before it computes a block.
_BLOCK = f"""
ulong steps = (ulong)i + 1, c0 = n1 + steps, c1 = n2, c2 = n3, c3 = n4, k0 = n5, k1 = n6;
if (c0 < steps && ++c1 == 0 && ++c2 == 0) ++c3;
{"ROUND " * 10}
long first = (long)i * {{each}};
if (first + {{each}} <= (long)n0) {{{{ {{whole}} }}}}
else {{{{
    ulong word[4] = {{{{c0, c1, c2, c3}}}};
    for (int k = 0; first + k < (long)n0; ++k) {{{{ {{number}} }}}}
}}}}
"""

_DOUBLE = "OUT0(y0 + first + {k}, ({word} >> 11) * (1.0 / 9007199254740992.0));"
_SINGLE = "OUT0(y0 + first + {k}, (int)((uint)({word} >> {half}) >> {shift}) * {scale}f);"


def random_uniform(size: tuple[int, ...], dtype: dtype, seed: int, offset: int, device: Any = None) -> Array:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    The same bits as on the CPU: 53 of a word for float64, 24 of half a word for float32, the low half first, of which
    the 16-bit types keep 11 and 8.
    """
    result = empty(runtime(device), size, dtype)
    if not result.size:
        return result
    if dtype is float64:
        number = _DOUBLE.format
        whole = [number(k=k, word=f"c{k}") for k in range(4)]
        body = number(k="k", word="word[k]")
    else:
        bits = 11 if dtype is float16 else 8 if dtype is bfloat16 else 24
        number = partial(_SINGLE.format, shift=32 - bits, scale=2.0**-bits)
        whole = [number(k=k, word=f"c{k // 2}", half=32 * (k % 2)) for k in range(8)]
        body = number(k="k", word="word[k >> 1]", half="(32 * (k & 1))")
    each = len(whole)
    words = [result.size]
    words += [offset >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(4)]
    words += [seed >> (64 * i) & 0xFFFFFFFFFFFFFFFF for i in range(2)]
    blocks = -(-result.size // each)
    body = _BLOCK.format(each=each, whole=" ".join(whole), number=body)
    origin = result.window((1,), (0,), result.offset)
    run("philox", body, [origin], [], [("ulong", w) for w in words], "r0", _PHILOX, shape=(blocks,))
    return result


KERNELS: dict[str, Callable[..., Any]] = {"random_uniform": random_uniform}
