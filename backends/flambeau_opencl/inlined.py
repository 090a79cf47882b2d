"""Functions of our own in place of OpenCL's, for compilers that call the latter instead of inlining them.

PoCL does: a call for each element keeps its loops over work-items from becoming vectors (of 3 million elements on one
core: ``exp`` 17 ms by the library, 3.5 ms inlined; ``sqrt`` 7.8 and 1.0; ``erf`` 82 and 4). So :func:`inlined` puts in
front of a program those of these functions that it uses, as overloads, and macros under OpenCL's names.

``exp`` ... are straight-line code in single precision, without branches, for one number or a vector; errors stay below
3 units in the last place, ``erf``'s below 6 (tests/backends/test_opencl_functions.py). Double precision keeps OpenCL's.
Methods: argument reduction by multiples of log 2 and short polynomials (Muller, "Elementary Functions", 3rd edition);
``erf`` is a rational function of our own fit.
"""

from __future__ import annotations

import re

#: One instruction each: the compiler's builtins are inlined where the library's functions are called.
_INSTRUCTIONS = {
    name: f"__builtin_{name}" for name in ("sqrt", "fabs", "floor", "ceil", "rint", "trunc", "copysign", "fmax", "fmin")
}
_OF_TWO = {"copysign", "fmax", "fmin"}

# In what follows R is float or a vector of floats, I the integers of its size.
_FUNCTIONS = {
    "exp": """
R OVERLOAD own_exp(R x) {
    R shifted = x * 1.44269504f + 12582912.0f;      /* rounds to a whole number k in the low bits */
    R k = shifted - 12582912.0f;
    I n = BITS(shifted) - 0x4b400000, half_n = n >> 1;
    R r = x - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f; p = p * r + 8.33333333e-3f; p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f; p = p * r + 0.5f; p = p * (r * r) + r + 1.0f;
    p = p * NUMBER((half_n + 127) << 23) * NUMBER((n - half_n + 127) << 23);
    return x > 88.8f ? (R)INFINITY : x < -104.0f ? (R)0.0f : p;
}
""",
    "expm1": """
R OVERLOAD own_expm1(R x) {
    R shifted = x * 1.44269504f + 12582912.0f;
    R k = shifted - 12582912.0f;
    I n = BITS(shifted) - 0x4b400000, half_n = n >> 1;
    R r = x - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 2.48015873e-5f;
    p = p * r + 1.98412698e-4f;
    p = p * r + 1.38888889e-3f; p = p * r + 8.33333333e-3f; p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f; p = p * r + 0.5f; p = p * (r * r) + r;
    R low = NUMBER((half_n + 127) << 23), high = NUMBER((n - half_n + 127) << 23), scale = low * high;
    p = k > 40.0f ? (p + 1.0f) * low * high : p * scale + (scale - 1.0f);
    return x > 88.8f ? (R)INFINITY : x < -20.0f ? (R)-1.0f : x == 0.0f ? x : p;
}
""",
    "tanh": """
R OVERLOAD own_tanh(R x) {
    R size = NUMBER(BITS(x) & 0x7fffffff);
    R e = own_expm1(2.0f * size), t = e / (e + 2.0f);
    t = size > 9.1f ? (R)1.0f : t;
    return NUMBER(BITS(t) | (BITS(x) & (I)0x80000000));
}
""",
    "log": """
R OVERLOAD own_log(R x) {
    R normal = x < 1.17549435e-38f ? x * 8388608.0f : x;
    I bits = BITS(normal) + (0x3f800000 - 0x3f3504f3);   /* x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2) */
    R k = AS_REAL((bits >> 23) - 127) - (x < 1.17549435e-38f ? (R)23.0f : (R)0.0f);
    R f = NUMBER((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    R s = f / (2.0f + f), z = s * s, w = z * z, square = 0.5f * f * f;
    R t = z * (0.66666662693f + w * 0.28498786688f) + w * (0.40000972152f + w * 0.24279078841f);
    R l = k * 0.693138123f + (s * (square + t) + k * 9.05800061e-6f - square + f);
    l = x == 0.0f ? (R)-INFINITY : x < 0.0f ? (R)NAN : l;
    return x == INFINITY || x != x ? x : l;
}
""",
    "log1p": """
R OVERLOAD own_log1p(R x) {
    R u = 1.0f + x, l = own_log(u) + (x - (u - 1.0f)) / u;
    return x == -1.0f ? (R)-INFINITY : x == INFINITY || x == 0.0f ? x : l;
}
""",
    "log2": """
R OVERLOAD own_log2(R x) {
    R normal = x < 1.17549435e-38f ? x * 8388608.0f : x;
    I bits = BITS(normal) + (0x3f800000 - 0x3f3504f3);
    R k = AS_REAL((bits >> 23) - 127) - (x < 1.17549435e-38f ? (R)23.0f : (R)0.0f);
    R l = k + own_log(NUMBER((bits & 0x007fffff) + 0x3f3504f3)) * 1.44269504f;
    l = x == 0.0f ? (R)-INFINITY : x < 0.0f ? (R)NAN : l;
    return x == INFINITY || x != x ? x : l;
}
""",
    "erf": """
R OVERLOAD own_erf(R x) {
    R size = NUMBER(BITS(x) & 0x7fffffff), z = x * x;
    R p = 2.039951166e-06f, q = 3.798233876e-05f;
    p = p * z + 2.84791696e-4f; p = p * z + 3.78314132e-3f; p = p * z + 5.280079838e-2f;
    p = p * z + 1.908788675e-1f; p = p * z + 1.128379145f;
    q = q * z + 1.165891516e-3f; q = q * z + 1.500456509e-2f; q = q * z + 1.142949384e-1f;
    q = q * z + 5.024947061e-1f; q = q * z + 1.0f;
    R e = x * (p / q);
    return size > 3.9f ? NUMBER(0x3f800000 | (BITS(x) & (I)0x80000000)) : e;
}
""",
}
_NEEDS = {"tanh": ("expm1",), "log1p": ("log",), "log2": ("log",)}

_USED = re.compile(rf"\b({'|'.join([*_INSTRUCTIONS, *_FUNCTIONS])})\s*\(")
_VECTORS = re.compile(r"\b(float|double)([248]|16)\b")


def _instances(name: str, source: str) -> list[str]:
    """The overloads of a function for the types that the program names."""
    found = []
    vectors = sorted(set(_VECTORS.findall(source)))
    for width in ["", *[n for kind, n in vectors if kind == "float" and name in _FUNCTIONS]]:
        if name in _FUNCTIONS:
            found += [
                f"#define R float{width}", f"#define I int{width}", f"#define BITS as_int{width}",
                f"#define NUMBER as_float{width}", f"#define AS_REAL convert_float{width}" if width else
                "#define AS_REAL (float)", _FUNCTIONS[name], "#undef R", "#undef I", "#undef BITS", "#undef NUMBER",
                "#undef AS_REAL",
            ]  # fmt: skip
        else:
            found.append(_instruction(name, "float", "f"))
    if "double" in source:
        if name in _INSTRUCTIONS:
            found.append(_instruction(name, "double", ""))
        else:
            doubles = ["double", *[kind + n for kind, n in vectors if kind == "double"]]
            found += [f"{own} OVERLOAD own_{name}({own} x) {{ return {name}(x); }}" for own in doubles]
    for kind, n in vectors:
        if name in _INSTRUCTIONS:
            own = kind + n
            parameters, values = (f"{own} x, {own} y", "x, y") if name in _OF_TWO else (f"{own} x", "x")
            found.append(f"{own} OVERLOAD own_{name}({parameters}) {{ return {name}({values}); }}")
    return found


def _instruction(name: str, kind: str, suffix: str) -> str:
    parameters, values = (f"{kind} x, {kind} y", "x, y") if name in _OF_TWO else (f"{kind} x", "x")
    builtin = _INSTRUCTIONS[name] + suffix
    return f"{kind} OVERLOAD own_{name}({parameters}) {{ return {builtin}({values}); }}"


def inlined(source: str) -> str:
    """``source`` with the functions of this module that it uses in front."""
    used = set(_USED.findall(source))
    for name in tuple(used):
        used.update(_NEEDS.get(name, ()))
    if not used:
        return source
    order = [name for name in (*_INSTRUCTIONS, *_FUNCTIONS) if name in used]
    lines = ["#define OVERLOAD __attribute__((overloadable, always_inline))"]
    if "double" in source:
        lines.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
    for name in order:
        lines += _instances(name, source)
    lines += ["#undef OVERLOAD", *[f"#define {name}(...) own_{name}(__VA_ARGS__)" for name in order]]
    return "\n".join(lines) + "\n" + source
