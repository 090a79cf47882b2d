"""Wrong calls of the ops of neural networks: the type of the exception and its whole message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau
import flambeau.nn.functional as F


def zeros(*shape: int, dtype: Any = None) -> Any:
    return flambeau.zeros(*shape, dtype=dtype)


def ints(*values: int) -> Any:
    return flambeau.tensor(values)


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: F.linear(zeros(3, 4), zeros(6, 5)),
        RuntimeError,
        "linear: mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6): input has shape [3, 4] and weight [6, 5]; "
        "expected an input (*, 5)",
    ),
    (
        lambda: F.linear(zeros(3, 4), zeros(6, 4), zeros(5)),
        RuntimeError,
        "linear: expected a bias of shape [6], but got [5]",
    ),
    (
        lambda: F.linear(zeros(3, 4), zeros(6, 4, dtype=flambeau.float64)),
        RuntimeError,
        "linear: Input type (float32) and weight type (float64) should be the same; cast one of them with .to()",
    ),
    (
        lambda: F.conv2d(zeros(1, 4, 8, 8), zeros(8, 3, 3, 3)),
        RuntimeError,
        "conv2d: Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 4, 8, 8] to have 3 channels, but got 4 "
        "channels instead",
    ),
    (
        lambda: F.conv2d(zeros(4, 8), zeros(8, 3, 3, 3)),
        RuntimeError,
        "conv2d: Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [4, 8]",
    ),
    (
        lambda: F.conv2d(zeros(1, 3, 2, 2), zeros(8, 3, 3, 3)),
        RuntimeError,
        "conv2d: Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater "
        "than actual input size",
    ),
    (
        lambda: F.conv1d(zeros(1, 3, 5), zeros(8, 3, 3), zeros(3)),
        RuntimeError,
        "conv1d: Given weight of size [8, 3, 3], expected bias to be 1-dimensional with 8 elements, but got bias of "
        "size "
        "[3] instead",
    ),
    (
        lambda: F.conv1d(zeros(1, 3, 5), zeros(8, 3, 3), stride=(1, 2)),
        RuntimeError,
        "conv1d: expected stride to be a single integer value or a list of 1 values, one a dimension, but got "
        "stride=[1, 2]",
    ),
    (
        lambda: F.conv1d(zeros(1, 3, 5), zeros(8, 3, 3), padding=-1),
        RuntimeError,
        "conv1d: negative padding is not supported, got padding=[-1]",
    ),
    (
        lambda: F.conv1d(zeros(1, 3, 5), zeros(8, 3, 3), padding="full"),
        RuntimeError,
        "conv1d: Invalid padding string: 'full'; it has to be 'same' or 'valid'",
    ),
    (
        lambda: F.conv1d(zeros(1, 4, 5), zeros(5, 2, 3), groups=2),
        RuntimeError,
        "conv1d: Given groups=2, expected weight to be at least 2 at dimension 0, and weight.shape[0] to be divisible "
        "by "
        "2, but got weight of size [5, 2, 3] instead",
    ),
    (
        lambda: F.conv_transpose1d(zeros(1, 4, 5), zeros(4, 2, 3), output_padding=1),
        RuntimeError,
        "conv_transpose1d: output padding must be smaller than either stride or dilation, but got output_padding=[1], "
        "stride=[1], dilation=[1]",
    ),
    (
        lambda: F.max_pool2d(zeros(1, 1, 2, 2), 3),
        RuntimeError,
        "max_pool2d: Given input size: (2x2). Calculated output size: (0x0). Output size is too small",
    ),
    (
        lambda: F.max_pool2d(zeros(1, 1, 8, 8), 3, padding=2),
        RuntimeError,
        "max_pool2d: pad should be at most half of effective kernel size, but got pad=2, kernel_size=3 and dilation=1",
    ),
    (
        lambda: F.avg_pool2d(zeros(8, 8), 2),
        RuntimeError,
        "avg_pool2d: Expected 3D or 4D (batch mode) tensor for input, but got: [8, 8]",
    ),
    (
        lambda: F.batch_norm(zeros(1, 3), None, None, training=True),
        ValueError,
        "Expected more than 1 value per channel when training, got input size [1, 3]",
    ),
    (
        lambda: F.batch_norm(zeros(2, 3), zeros(4), zeros(3)),
        RuntimeError,
        "batch_norm: running_mean should contain 3 elements, one for each channel of the input of shape [2, 3], not 4 "
        "(shape [4])",
    ),
    (
        lambda: F.batch_norm(zeros(2, 3), None, None),
        RuntimeError,
        "batch_norm: Expected running_mean to be defined when training=False",
    ),
    (
        lambda: F.layer_norm(zeros(2, 3), (4,)),
        RuntimeError,
        "layer_norm: Given normalized_shape=[4], expected input with shape [*, 4], but got input of size [2, 3]",
    ),
    (
        lambda: F.layer_norm(zeros(2, 3), (3,), zeros(2)),
        RuntimeError,
        "layer_norm: Expected weight to be of same shape as normalized_shape, but got weight of shape [2] and "
        "normalized_shape = [3]",
    ),
    (
        lambda: F.group_norm(zeros(2, 3, 4), 2),
        RuntimeError,
        "group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 3, "
        "4] "
        "and num_groups=2",
    ),
    (
        lambda: F.cross_entropy(zeros(3, 10), ints(1, 10, 2)),
        IndexError,
        "cross_entropy: Target 10 is out of bounds: there are 10 classes, 0 to 9, and ignore_index is -100",
    ),
    (
        lambda: F.cross_entropy(zeros(3, 10), ints(1, -1, 2)),
        IndexError,
        "cross_entropy: Target -1 is out of bounds: there are 10 classes, 0 to 9, and ignore_index is -100",
    ),
    (
        lambda: F.cross_entropy(zeros(3, 10), ints(1, 2)),
        ValueError,
        "cross_entropy: Expected input batch_size (3) to match target batch_size (2).",
    ),
    (
        lambda: F.nll_loss(zeros(2, 3, 4), zeros(2, 5, dtype=flambeau.int64)),
        RuntimeError,
        "nll_loss: Expected target size [2, 4] for an input of size [2, 3, 4], got [2, 5]",
    ),
    (
        lambda: F.cross_entropy(zeros(3, 10), ints(1, 2, 3), zeros(4)),
        RuntimeError,
        "cross_entropy: weight tensor should be defined either for all 10 classes or no classes but got weight tensor "
        "of "
        "shape: [4]",
    ),
    (
        lambda: F.mse_loss(zeros(3), zeros(3), reduction="average"),
        ValueError,
        "average is not a valid value for reduction; it has to be 'none', 'mean' or 'sum'",
    ),
    (
        lambda: F.binary_cross_entropy(zeros(3) + 1.5, zeros(3)),
        RuntimeError,
        "binary_cross_entropy: all elements of input should be between 0 and 1, got values from 1.5 to 1.5",
    ),
    (
        lambda: F.binary_cross_entropy_with_logits(zeros(3), zeros(4)),
        ValueError,
        "binary_cross_entropy_with_logits: Target size ([4]) must be the same as input size ([3])",
    ),
    (
        lambda: F.embedding(ints(0, 5), zeros(5, 2)),
        IndexError,
        "embedding: index out of range in self: index 5, but the weight has 5 rows",
    ),
    (
        lambda: F.embedding(zeros(2), zeros(5, 2)),
        RuntimeError,
        "embedding: Expected tensor for argument #1 'indices' to have one of the following scalar types: int64, int32; "
        "but "
        "got float32 instead",
    ),
    (
        lambda: F.one_hot(ints(0, 5), 5),
        RuntimeError,
        "one_hot: Class values must be smaller than num_classes, got 5 with num_classes=5",
    ),
    (
        lambda: F.dropout(zeros(3), 1.5),
        ValueError,
        "dropout probability has to be between 0 and 1, but got 1.5",
    ),
    (
        lambda: F.glu(zeros(2, 3)),
        RuntimeError,
        "glu: Halving dimension must be even, but dimension 1 is size 3",
    ),
    (
        lambda: F.gelu(zeros(3), approximate="erf"),
        RuntimeError,
        "gelu: approximate argument must be either none or tanh, but got 'erf'",
    ),
    (
        lambda: F.prelu(zeros(2, 3), zeros(2)),
        RuntimeError,
        "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = 2 and channel size = "
        "3.",
    ),
    (
        lambda: F.softmax(zeros(2, 3), 2),
        IndexError,
        "softmax: Dimension out of range (expected to be in range of [-2, 1], but got 2)",
    ),
    (
        lambda: F.pad(zeros(2, 3), (1, 1, 1)),
        RuntimeError,
        "pad: Padding length must be divisible by 2, got 3 sizes: [1, 1, 1]",
    ),
    (
        lambda: F.pad(zeros(2, 3), (3, 1), "reflect"),
        RuntimeError,
        "reflection_pad: Padding size should be less than the corresponding input dimension, but got: padding (3, 1) "
        "at "
        "dimension 1 of input [2, 3]",
    ),
    (
        lambda: F.interpolate(zeros(1, 2, 3, 4), 5, mode="linear"),
        NotImplementedError,
        "interpolate: Got 4D input, but linear mode needs 3D input",
    ),
    (
        lambda: F.interpolate(zeros(1, 2, 3)),
        ValueError,
        "interpolate: either size or scale_factor should be defined",
    ),
    (
        lambda: F.pixel_shuffle(zeros(1, 3, 2, 2), 2),
        RuntimeError,
        "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
        "input.size(-3)=3 is not divisible by 4",
    ),
    (
        lambda: F.scaled_dot_product_attention(zeros(2, 3), zeros(4, 5), zeros(4, 3)),
        RuntimeError,
        "scaled_dot_product_attention: expected query (..., L, E), key (..., S, E) and value (..., S, V), got query "
        "[2, 3], "
        "key [4, 5] and value [4, 3]",
    ),
    (
        lambda: F.triplet_margin_loss(zeros(2, 3), zeros(2, 3), zeros(2, 3), margin=0),
        ValueError,
        "triplet_margin_loss: margin must be greater than 0, got 0",
    ),
    (
        lambda: F.huber_loss(zeros(3), zeros(3), delta=0),
        RuntimeError,
        "huber_loss does not support non-positive values for delta, got 0",
    ),
    (
        lambda: F.bilinear(zeros(2, 3), zeros(2, 4), zeros(5, 3, 3)),
        RuntimeError,
        "bilinear: weight must have the shape (out, 3, 4) for inputs of shape [2, 3] and [2, 4], got [5, 3, 3]",
    ),
    (
        lambda: F.relu(3.0),
        TypeError,
        "relu(): argument 'input' must be Tensor, not float",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS, ids=[message[:50] for *_, message in ERRORS])
def test_the_message_says_what_is_wrong(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == message


def test_losses_of_different_shapes_warn() -> None:
    with pytest.warns(UserWarning, match=r"mse_loss: Using a target size \(\[3\]\) that is different to the"):
        assert tuple(F.mse_loss(zeros(3, 1), zeros(3), reduction="none").shape) == (3, 3)


def test_an_implicit_dimension_warns() -> None:
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax has been deprecated"):
        assert F.softmax(zeros(2, 3)).sum(1).tolist() == pytest.approx([1, 1])


def test_older_arguments_warn_and_hold() -> None:
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert F.l1_loss(zeros(3), zeros(3) + 1, size_average=False).item() == 3
