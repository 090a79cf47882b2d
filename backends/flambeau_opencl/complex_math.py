"""Functions of complex numbers in OpenCL C, which has none: ``float2`` and ``double2`` hold the two parts.

Formulas are chosen for accuracy near their branch points (Kahan, "Branch cuts for complex elementary functions", 1987).
"""

from __future__ import annotations

from flambeau.dtypes import dtype

_SOURCE = """
C OVERLOAD c_conj(C a) { return (C)(a.x, -a.y); }
C OVERLOAD c_mul(C a, C b) { return (C)(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
C OVERLOAD c_times_i(C a) { return (C)(-a.y, a.x); }
C OVERLOAD c_times_minus_i(C a) { return (C)(a.y, -a.x); }
R OVERLOAD c_abs(C a) { return hypot(a.x, a.y); }
C OVERLOAD c_div(C a, C b) {
    /* Smith's method: no overflow on the way */
    if (fabs(b.x) >= fabs(b.y)) {
        R ratio = b.y / b.x, d = b.x + b.y * ratio;
        if (b.x == 0 && b.y == 0) return (C)(a.x / fabs(b.x), a.y / fabs(b.x));
        return (C)((a.x + a.y * ratio) / d, (a.y - a.x * ratio) / d);
    }
    R ratio = b.x / b.y, d = b.x * ratio + b.y;
    return (C)((a.x * ratio + a.y) / d, (a.y * ratio - a.x) / d);
}
C OVERLOAD c_sqrt(C a) {
    if (a.x == 0 && a.y == 0) return (C)(0, a.y);
    R t = sqrt((fabs(a.x) + c_abs(a)) * (R)0.5);
    if (a.x >= 0) return (C)(t, a.y / (2 * t));
    return (C)(fabs(a.y) / (2 * t), copysign(t, a.y));
}
C OVERLOAD c_exp(C a) { R e = exp(a.x); return (C)(e * cos(a.y), a.y == 0 ? a.y : e * sin(a.y)); }
C OVERLOAD c_log1p(C a) {
    /* log |1 + a| = log1p(2 x + x^2 + y^2) / 2 near 1 */
    R s = a.x * (2 + a.x) + a.y * a.y;
    R m = fabs(s) < (R)0.5 ? (R)0.5 * log1p(s) : log(hypot(1 + a.x, a.y));
    return (C)(m, atan2(a.y, 1 + a.x));
}
C OVERLOAD c_log(C a) {
    R s = (a.x - 1) * (a.x + 1) + a.y * a.y;
    R m = fabs(s) < (R)0.5 ? (R)0.5 * log1p(s) : log(c_abs(a));
    return (C)(m, atan2(a.y, a.x));
}
C OVERLOAD c_expm1(C a) {
    R h = sin(a.y * (R)0.5), e = expm1(a.x);
    return (C)(e * cos(a.y) - 2 * h * h, (e + 1) * sin(a.y));
}
C OVERLOAD c_sinh(C a) { return (C)(sinh(a.x) * cos(a.y), cosh(a.x) * sin(a.y)); }
C OVERLOAD c_cosh(C a) { return (C)(cosh(a.x) * cos(a.y), sinh(a.x) * sin(a.y)); }
C OVERLOAD c_tanh(C a) {
    if (fabs(a.x) > 20) return (C)(copysign((R)1, a.x), 4 * sin(a.y) * cos(a.y) * exp(-2 * fabs(a.x)));
    R t = tan(a.y), s = sinh(a.x), b = 1 + t * t, r = sqrt(1 + s * s), d = 1 + b * s * s;
    return isinf(t) ? (C)(r / s, 1 / t) : (C)(b * r * s / d, t / d);
}
C OVERLOAD c_sin(C a) { return c_times_minus_i(c_sinh(c_times_i(a))); }
C OVERLOAD c_cos(C a) { return c_cosh(c_times_i(a)); }
C OVERLOAD c_tan(C a) { return c_times_minus_i(c_tanh(c_times_i(a))); }
C OVERLOAD c_asinh(C a) {
    C p = c_sqrt((C)(1 - a.y, a.x)), q = c_sqrt((C)(1 + a.y, -a.x));
    return (C)(asinh(p.y * q.x - p.x * q.y), atan2(a.y, p.x * q.x - p.y * q.y));
}
C OVERLOAD c_asin(C a) { return c_times_minus_i(c_asinh(c_times_i(a))); }
C OVERLOAD c_acos(C a) {
    C p = c_sqrt((C)(1 - a.x, -a.y)), q = c_sqrt((C)(1 + a.x, a.y));
    return (C)(2 * atan2(p.x, q.x), asinh(q.x * p.y - q.y * p.x));
}
C OVERLOAD c_acosh(C a) {
    C p = c_sqrt((C)(a.x - 1, a.y)), q = c_sqrt((C)(a.x + 1, a.y));
    return (C)(asinh(p.x * q.x + p.y * q.y), 2 * atan2(p.y, q.x));
}
C OVERLOAD c_atanh(C a) {
    /* (log1p(a) - log1p(-a)) / 2 */
    R d = (1 - a.x) * (1 - a.x) + a.y * a.y;
    return (C)((R)0.25 * log1p(4 * a.x / d), (R)0.5 * atan2(2 * a.y, (1 - a.x) * (1 + a.x) - a.y * a.y));
}
C OVERLOAD c_atan(C a) { return c_times_minus_i(c_atanh(c_times_i(a))); }
C OVERLOAD c_pow(C a, C b) {
    if (b.x == 0 && b.y == 0) return (C)(1, 0);
    if (a.x == 0 && a.y == 0) return (C)(0, 0);
    if (b.y == 0 && b.x == floor(b.x) && fabs(b.x) <= 64) {
        C result = (C)(1, 0), base = b.x < 0 ? c_div(result, a) : a;
        for (int n = (int)fabs(b.x); n; n >>= 1) {
            if (n & 1) result = c_mul(result, base);
            base = c_mul(base, base);
        }
        return result;
    }
    return c_exp(c_mul(b, c_log(a)));
}
C OVERLOAD c_sign(C a) { R m = c_abs(a); return m == 0 ? (C)(0, 0) : a / m; }
"""


def functions(kind: dtype) -> str:
    """The functions for ``complex64`` or ``complex128``; they are overloaded, so that both may be there."""
    real = "float" if kind.itemsize == 8 else "double"
    defines = f"#define C {real}2\n#define R {real}\n#define OVERLOAD __attribute__((overloadable))\n"

    return f"{defines}{_SOURCE}#undef C\n#undef R\n#undef OVERLOAD\n"
