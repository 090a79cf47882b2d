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
_OF_TWO = {"copysign", "fmax", "fmin", "pow"}

# The sine of x plus so many quarter turns. 2 / pi in pieces of 29 bits, so that the products are exact in double
# precision; of each only the rest of whole turns counts, for numbers of any size.
_SINE = """
#ifndef SINE
#define SINE
float OVERLOAD own_sine(float x, int quarters) {
    double d = x, y = d * 0.636619770899415, t = y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 1.4681663246252086e-09; t += y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 2.2760100671971816e-18; t += y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 5.8812147387730434e-27; t += y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 1.0346868700836215e-35; t += y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 3.783256351091319e-45; t += y - 4.0 * __builtin_rint(y * 0.25);
    y = d * 3.720474878517739e-53; t += y - 4.0 * __builtin_rint(y * 0.25);
    double whole = __builtin_rint(t);
    float r = (float)((t - whole) * 1.5707963267948966), z = r * r;
    int n = (int)whole + quarters;
    float s = r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
    float c = 1.0f - 0.5f * z + z * z * (4.166664568e-2f + z * (-1.388731625e-3f + z * 2.443315712e-5f));
    float v = n & 1 ? c : s;
    return as_float(as_int(v) ^ (n & 2) << 30);
}
#endif
"""

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
    "log10": """
R OVERLOAD own_log10(R x) {
    R normal = x < 1.17549435e-38f ? x * 8388608.0f : x;
    I bits = BITS(normal) + (0x3f800000 - 0x3f3504f3);
    R k = AS_REAL((bits >> 23) - 127) - (x < 1.17549435e-38f ? (R)23.0f : (R)0.0f);
    R rest = own_log(NUMBER((bits & 0x007fffff) + 0x3f3504f3));
    R l = k * 3.01029205e-1f + (k * 7.90341517e-7f + rest * 0.434294482f);
    l = x == 0.0f ? (R)-INFINITY : x < 0.0f ? (R)NAN : l;
    return x == INFINITY || x != x ? x : l;
}
""",
    "exp2": """
R OVERLOAD own_exp2(R x) {
    R y = x > 129.0f ? (R)129.0f : x;
    y = y < -151.0f ? (R)-151.0f : y;
    R shifted = y + 12583166.0f;
    R r = (y - (shifted - 12583166.0f)) * 0.693147181f;
    R p = 1.38145401e-3f;
    p = p * r + 8.36874521e-3f; p = p * r + 4.16683908e-2f; p = p * r + 1.66665204e-1f;
    p = p * r + 0.499999934f; p = p * r + 1.0f; p = p * r + 1.0f;
    I whole = BITS(shifted), half_ = whole >> 1;
    return p * NUMBER(half_ << 23) * NUMBER((whole - half_) << 23);
}
""",
    "pow": """
/* 2^(y log2 |x|) in double precision: the logarithm is multiplied by up to 2^7, and its error too. */
float OVERLOAD own_pow(float x, float y) {
    float size = as_float(as_int(x) & 0x7fffffff), normal = size < 1.17549435e-38f ? size * 8388608.0f : size;
    int bits = as_int(normal) + (0x3f800000 - 0x3f3504f3);
    double k = (bits >> 23) - 127 - (size < 1.17549435e-38f ? 23 : 0);
    double f = as_float((bits & 0x007fffff) + 0x3f3504f3), s = (f - 1.0) / (f + 1.0), z = s * s;
    double l = 2.6230818925253880e-1;                       /* 2 / log 2 (1, 1/3 ... 1/11) */
    l = l * z + 3.2059889797532520e-1; l = l * z + 4.1219858311113240e-1; l = l * z + 5.7707801635558535e-1;
    l = l * z + 9.6179669392597560e-1; l = l * z + 2.8853900817779268;
    l = l * s + k;
    l = size == 0.0f ? -INFINITY : size == INFINITY ? INFINITY : l;
    double t = l * y;
    t = t > 130.0 ? 130.0 : t;
    t = t < -152.0 ? -152.0 : t;
    double shifted = t + 6755399441056767.0;                /* 1.5 * 2^52 + 1023 */
    double r = (t - (shifted - 6755399441056767.0)) * 6.9314718055994531e-1;
    double p = 1.38145401e-3;
    p = p * r + 8.36874521e-3; p = p * r + 4.16683908e-2; p = p * r + 1.66665204e-1;
    p = p * r + 0.499999934; p = p * r + 1.0; p = p * r + 1.0;
    float value = (float)(p * as_double(as_long(shifted) << 52));
    float half_y = 0.5f * y;
    int whole = __builtin_floorf(y) == y, odd = whole && __builtin_floorf(half_y) != half_y;
    float signed_ = as_float(as_int(value) | (odd ? as_int(x) & 0x80000000 : 0));
    signed_ = x < 0.0f && !whole && size != INFINITY ? NAN : signed_;
    signed_ = size == 1.0f && as_float(as_int(y) & 0x7fffffff) == INFINITY ? 1.0f : signed_;
    signed_ = x != x || y != y ? NAN : signed_;
    return x == 1.0f || y == 0.0f ? 1.0f : signed_;
}
""",
    "sin": f"{_SINE} float OVERLOAD own_sin(float x) {{ return x == 0.0f ? x : own_sine(x, 0); }}",
    "cos": f"{_SINE} float OVERLOAD own_cos(float x) {{ return own_sine(x, 1); }}",
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
_NEEDS = {"log1p": ("log",), "log2": ("log",), "log10": ("log",)}
#: Not for vectors, which would be of double precision and longer than registers.
_SINGLE = {"pow", "sin", "cos"}

#: What stands for names that OpenCL does not have, where nothing is inlined.
_STANDARD = {"exp_nonpositive": "exp"}

_USED = re.compile(rf"\b({'|'.join([*_INSTRUCTIONS, *_FUNCTIONS])})\s*\(")
_VECTORS = re.compile(r"\b(float|double)([248]|16)\b")


def _instances(name: str, source: str) -> list[str]:
    """The overloads of a function for the types that the program names."""
    found = []
    vectors = sorted(set(_VECTORS.findall(source)))
    served = name in _FUNCTIONS and name not in _SINGLE
    for width in ["", *[n for kind, n in vectors if kind == "float" and served]]:
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
            for own in doubles:
                parameters, values = (f"{own} x, {own} y", "x, y") if name in _OF_TWO else (f"{own} x", "x")
                found.append(f"{own} OVERLOAD own_{name}({parameters}) {{ return {standard}({values}); }}")
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
    if "double" in source or used & _SINGLE:
        lines.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
    for name in order:
        lines += _instances(name, source)
    lines += ["#undef OVERLOAD", *[f"#define {name}(...) own_{name}(__VA_ARGS__)" for name in order]]
    return "\n".join(lines) + "\n" + source


def standard(source: str) -> str:
    """``source`` for other compilers: with OpenCL's functions under the names of ours that it does not have."""
    return "".join(f"#define {ours} {theirs}\n" for ours, theirs in _STANDARD.items()) + source
