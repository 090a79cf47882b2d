"""How each dtype is stored in memory, computed with, and cast in OpenCL C.

The 16-bit floats are only stored: kernels compute with them in ``float``, which every device has.
"""

from __future__ import annotations

from flambeau import dtypes
from flambeau.dtypes import BOOL, COMPLEX, FLOATING, dtype


class Element:
    """A dtype in OpenCL C.

    Attributes:
        storage: the type in memory.
        compute: the type of a value in a kernel.
        real: for complex types the type of a part, otherwise ``compute``.
    """

    __slots__ = ("compute", "dtype", "real", "storage")

    def __init__(self, dtype: dtype, storage: str, compute: str | None = None, real: str | None = None) -> None:
        self.dtype = dtype
        self.storage = storage
        self.compute = compute or storage
        self.real = real or self.compute

    def load(self, pointer: str, index: str) -> str:
        """The expression that reads element ``index``."""
        if self.dtype is dtypes.float16:
            return f"vload_half({index}, {pointer})"
        if self.dtype is dtypes.bfloat16:
            return f"as_float((uint)({pointer}[{index}]) << 16)"
        return f"{pointer}[{index}]"

    def store(self, pointer: str, index: str, value: str) -> str:
        """The statement that writes element ``index``."""
        if self.dtype is dtypes.float16:
            return f"vstore_half_rte({value}, {index}, {pointer})"
        if self.dtype is dtypes.bfloat16:
            return f"{pointer}[{index}] = to_bfloat16({value})"
        return f"{pointer}[{index}] = {value}"


ELEMENTS: dict[dtype, Element] = {
    dtypes.bool_: Element(dtypes.bool_, "uchar"),
    dtypes.uint8: Element(dtypes.uint8, "uchar"),
    dtypes.int8: Element(dtypes.int8, "char"),
    dtypes.int16: Element(dtypes.int16, "short"),
    dtypes.int32: Element(dtypes.int32, "int"),
    dtypes.int64: Element(dtypes.int64, "long"),
    dtypes.uint16: Element(dtypes.uint16, "ushort"),
    dtypes.uint32: Element(dtypes.uint32, "uint"),
    dtypes.uint64: Element(dtypes.uint64, "ulong"),
    dtypes.float16: Element(dtypes.float16, "half", "float"),
    dtypes.bfloat16: Element(dtypes.bfloat16, "ushort", "float"),
    dtypes.float32: Element(dtypes.float32, "float"),
    dtypes.float64: Element(dtypes.float64, "double"),
    dtypes.complex64: Element(dtypes.complex64, "float2", "float2", "float"),
    dtypes.complex128: Element(dtypes.complex128, "double2", "double2", "double"),
}

#: The dtypes in which sums are made, and with which sorting, products ... of the narrow types compute.
ACCUMULATED = {dtypes.float16: dtypes.float32, dtypes.bfloat16: dtypes.float32}


def cast(value: str, source: dtype, target: dtype) -> str:
    """The C expression ``value``, of the compute type of ``source``, in the compute type of ``target``."""
    own, wanted = ELEMENTS[source], ELEMENTS[target]
    if source is target:
        return value
    if target.category == BOOL:
        return f"(uchar)(({value}).x != 0 || ({value}).y != 0)" if source.is_complex else f"(uchar)(({value}) != 0)"
    if source.is_complex:
        return (
            f"convert_{wanted.compute}({value})" if target.is_complex else cast(f"({value}).x", _part(source), target)
        )
    if target.is_complex:
        return f"({wanted.compute})(({wanted.real})({value}), 0)"
    if source.category == FLOATING and target is dtypes.uint64:
        return f"(({value}) < 0 ? (ulong)(long)({value}) : (ulong)({value}))"
    if source.category == FLOATING and target.category < FLOATING:
        return f"({wanted.compute})(long)({value})"  # what does not fit wraps around, as on the CPU
    return value if own.compute == wanted.compute else f"({wanted.compute})({value})"


def _part(complex_type: dtype) -> dtype:
    return complex_type.to_real()


def unaligned(vector: str, element: str) -> str:
    """The C type ``unaligned``: ``vector`` where it is aligned as an element only, read and written without a call."""
    return f"typedef {vector} unaligned __attribute__((aligned(sizeof({element}))));"


def preamble(used: set[dtype]) -> str:
    """Extensions and functions that a program needs for the dtypes that it uses."""
    lines = []
    if used & {dtypes.float64, dtypes.complex128}:
        lines.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
    if dtypes.bfloat16 in used:
        lines.append(_TO_BFLOAT16)
    if any(kind.category == COMPLEX for kind in used):
        from flambeau_opencl.complex_math import functions

        lines += [functions(kind) for kind in (dtypes.complex64, dtypes.complex128) if kind in used]
    return "\n".join(lines)


# Round to nearest, ties to even; NaN stays NaN.
_TO_BFLOAT16 = """
ushort to_bfloat16(float value) {
    uint bits = as_uint(value);
    return isnan(value) ? (ushort)0x7fc0 : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}"""
