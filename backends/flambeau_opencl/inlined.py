"""Functions of our own in place of OpenCL's, for compilers that call the latter instead of inlining them.

PoCL does: a call for each element keeps its loops over work-items from becoming vectors (of 3 million elements on one
core: ``exp`` 17 ms by the library, 3.5 ms inlined; ``sqrt`` 7.8 and 1.0; ``erf`` 82 and 4). So :func:`inlined` puts in
front of a program those of these functions that it uses, as overloads, and macros under OpenCL's names.

``exp`` ... are straight-line code in single precision, without branches, for one number or a vector; errors stay below
3 units in the last place, ``erf``'s below 6 (tests/backends/test_opencl_functions.py). Double precision keeps OpenCL's.
Methods: argument reduction by multiples of log 2 and short polynomials (Muller, "Elementary Functions", 3rd edition),
the coefficients are fits of our own. ``exp_nonpositive`` is ``exp`` of numbers that are not positive, as softmax has
them: 0 instead of what is not a normal number.
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
    x = x > 89.0f ? (R)89.0f : x;   /* infinite; from -104 on 0 */
    x = x < -104.0f ? (R)-104.0f : x;
    R shifted = x * 1.44269504f + 12583166.0f;   /* rounds to a whole number k, and adds the bias of two exponents */
    R k = shifted - 12583166.0f;
    R r = x - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 1.38145401e-3f;
    p = p * r + 8.36874521e-3f; p = p * r + 4.16683908e-2f; p = p * r + 1.66665204e-1f;
    p = p * r + 0.499999934f; p = p * r + 1.0f; p = p * r + 1.0f;
    I whole = BITS(shifted), half_ = whole >> 1;
    return p * NUMBER(half_ << 23) * NUMBER((whole - half_) << 23);
}
""",
    "exp_nonpositive": """
R OVERLOAD own_exp_nonpositive(R x) {
    x = x < -88.0f ? (R)-88.0f : x;   /* where the factor at the end is 0 */
    R shifted = x * 1.44269504f + 12583039.0f;
    R k = shifted - 12583039.0f;
    R r = x - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 1.38145401e-3f;
    p = p * r + 8.36874521e-3f; p = p * r + 4.16683908e-2f; p = p * r + 1.66665204e-1f;
    p = p * r + 0.499999934f; p = p * r + 1.0f; p = p * r + 1.0f;
    return p * NUMBER(BITS(shifted) << 23);
}
""",
    "expm1": """
R OVERLOAD own_expm1(R x) {
    R y = x > 89.0f ? (R)89.0f : x;
    y = y < -20.0f ? (R)-20.0f : y;
    R shifted = y * 1.44269504f + 12583166.0f;
    R k = shifted - 12583166.0f;
    R r = y - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 1.38825165e-3f;
    p = p * r + 8.36654723e-3f; p = p * r + 4.16672007e-2f; p = p * r + 1.66665434e-1f;
    p = p * r + 0.499999981f; p = p * (r * r) + r;
    I whole = BITS(shifted), half_ = whole >> 1;
    R low = NUMBER(half_ << 23), high = NUMBER((whole - half_) << 23), inverse = NUMBER((254 - whole + half_) << 23);
    p = (p * low + (low - inverse)) * high;
    return x == 0.0f ? x : p;
}
""",
    "tanh": """
R OVERLOAD own_tanh(R x) {
    R size = NUMBER(BITS(x) & 0x7fffffff);
    R y = size > 9.1f ? (R)18.2f : size + size;   /* expm1(y) / (expm1(y) + 2) */
    R shifted = y * 1.44269504f + 12583039.0f;
    R k = shifted - 12583039.0f;
    R r = y - k * 0.693145752f - k * 1.42860677e-6f;
    R p = 1.38825165e-3f;
    p = p * r + 8.36654723e-3f; p = p * r + 4.16672007e-2f; p = p * r + 1.66665434e-1f;
    p = p * r + 0.499999981f; p = p * (r * r) + r;
    R scale = NUMBER(BITS(shifted) << 23), e = p * scale + (scale - 1.0f), t = e / (e + 2.0f);
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
    R p = 2.066445226e-6f, q = 3.826968376e-5f;
    p = p * z + 2.850613138e-4f; p = p * z + 3.738376989e-3f; p = p * z + 5.266816997e-2f;
    p = p * z + 1.896677681e-1f; p = p * z + 1.128379148f;
    q = q * z + 1.157380765e-3f; q = q * z + 1.491433915e-2f; q = q * z + 1.138193145e-1f;
    q = q * z + 5.014214646e-1f; q = q * z + 1.0f;
    R e = x * (p / q);
    return size > 3.9f ? NUMBER(0x3f800000 | (BITS(x) & (I)0x80000000)) : e;
}
""",
}
_NEEDS = {"log1p": ("log",), "log2": ("log",)}

#: What stands for names that OpenCL does not have, where nothing is inlined.
_STANDARD = {"exp_nonpositive": "exp"}

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
            standard = _STANDARD.get(name, name)
            found += [f"{own} OVERLOAD own_{name}({own} x) {{ return {standard}(x); }}" for own in doubles]
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


def standard(source: str) -> str:
    """``source`` for other compilers: with OpenCL's functions under the names of ours that it does not have."""
    return "".join(f"#define {ours} {theirs}\n" for ours, theirs in _STANDARD.items()) + source
