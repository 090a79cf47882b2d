"""Convolutions by cuDNN: over one to three spatial dimensions, in float32, float16 and bfloat16, added up in float32.

Where input or weight lie with their channels innermost (``memory_format=channels_last``), so does all that is given to
cuDNN, and what comes back: its kernels for tensor cores work in that order, and copy otherwise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.ops.convolution import output_size
from flambeau_cupy.cudnn import library
from flambeau_cupy.cudnn.layout import empty, is_channels_last, packed, packed_strides

Array = Any
Size = tuple[int, ...]

#: The numbers of the tensors.
IMAGE, FILTER, RESPONSE = 1, 2, 3


class Convolution(NamedTuple):
    """The correlation of an image (N, C, *) with a filter (O, C / groups, *), or its gradient for one of them.

    Attributes:
        way: ``"fprop"``, ``"dgrad"`` (for the image) or ``"wgrad"`` (for the filter).
        kind: NumPy's character of the dtype.
        last: whether the channels are innermost.
    """

    way: str
    kind: str
    image: Size
    filter: Size
    response: Size
    stride: Size
    padding: Size
    dilation: Size
    last: bool

    def add_to(self, graph: Any) -> None:
        """Add the tensors and the operation to a graph."""
        sizes = {IMAGE: self.image, FILTER: self.filter, RESPONSE: self.response}
        made = {"fprop": RESPONSE, "dgrad": IMAGE, "wgrad": FILTER}[self.way]
        strides = {number: packed_strides(own, self.last) for number, own in sizes.items()}
        given = {n: library.operand(graph, n, sizes[n], strides[n], self.kind) for n in sizes if n != made}
        geometry = {
            "pre_padding": list(self.padding), "post_padding": list(self.padding), "stride": list(self.stride),
            "dilation": list(self.dilation),
        }  # fmt: skip
        if self.way == "fprop":
            out = graph.conv_fprop(image=given[IMAGE], weight=given[FILTER], **geometry)
        elif self.way == "dgrad":
            out = graph.conv_dgrad(loss=given[RESPONSE], filter=given[FILTER], **geometry)
        else:
            out = graph.conv_wgrad(image=given[IMAGE], loss=given[RESPONSE], **geometry)
        library.result(out, made, sizes[made], strides[made], self.kind)


def _serves(first: Array, second: Array, *shapes: Size) -> bool:
    if first.dtype.char not in library.DTYPES or second.dtype != first.dtype or not 3 <= first.ndim <= 5:
        return False
    for shape in (first.shape, second.shape, *shapes):
        count = 1
        for size in shape:
            count *= size
        if not 0 < count <= library.LARGEST:
            return False
    return library.is_on()


def _planar(shape: Size) -> Size:
    """A shape of one spatial dimension with a second one, of size 1."""
    return (*shape[:2], 1, *shape[2:]) if len(shape) == 3 else tuple(shape)


def _fits(image: Size, filter: Size, response: Size, stride: Size, padding: Size, dilation: Size) -> bool:
    """Whether the response is what cuDNN takes it to be; an output padding of a stride or more leaves a rest."""
    entries = zip(image[2:], filter[2:], stride, padding, dilation, strict=True)
    return response[2:] == tuple([output_size(*entry) for entry in entries])


def _compute(
    way: str, operands: dict[int, Array], shape: Size, stride: Size, padding: Size, dilation: Size
) -> Array | None:
    """The tensor of the number that ``operands`` lack, of a shape, or None where cuDNN refuses."""
    if not _serves(*operands.values(), shape):
        return None
    last = any(is_channels_last(array) for number, array in operands.items())
    given = {number: packed(array, last) for number, array in operands.items()}
    (missing,) = {IMAGE, FILTER, RESPONSE} - operands.keys()
    out = empty(shape, next(iter(given.values())).dtype, last)
    arrays = {**given, missing: out}
    if len(shape) == 3:
        stride, padding, dilation = (1, *stride), (0, *padding), (1, *dilation)
    sizes = [_planar(arrays[number].shape) for number in (IMAGE, FILTER, RESPONSE)]
    if not _fits(*sizes, stride, padding, dilation):
        return None
    problem = Convolution(way, out.dtype.char, *sizes, tuple(stride), tuple(padding), tuple(dilation), last)
    places = {number: array.data.ptr for number, array in arrays.items()}
    return out if library.run(problem, library.settings(out.dtype.char), places) else None


def correlate(x: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size) -> Array | None:
    """(N, C, *) and (O, C / groups, *kernel) -> (N, O, *size)."""
    shape = (x.shape[0], weight.shape[0], *size)
    return _compute("fprop", {IMAGE: x, FILTER: weight}, shape, stride, padding, dilation)


def scatter(
    g: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Array | None:
    """The gradient of :func:`correlate` for its input: (N, O, *) and (O, C / groups, *kernel) -> (N, C, *size)."""
    shape = (g.shape[0], weight.shape[1] * groups, *size)
    return _compute("dgrad", {FILTER: weight, RESPONSE: g}, shape, stride, padding, dilation)


def products(x: Array, g: Array, shape: Size, stride: Size, padding: Size, dilation: Size) -> Array | None:
    """The gradient of :func:`correlate` for its weight: (N, C, *) and (N, O, *) -> (O, C / groups, *kernel)."""
    return _compute("wgrad", {IMAGE: x, RESPONSE: g}, shape, stride, padding, dilation)
