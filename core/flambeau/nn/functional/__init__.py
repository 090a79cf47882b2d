"""The functions of neural networks (``torch.nn.functional``): names, arguments and semantics as there.

What is computed is declared in :mod:`flambeau.ops`, a file a theme. The private modules of this package add
what PyTorch's signatures have beyond that: ``inplace``, the older ``size_average`` and ``reduce``, random masks, and
checks that look at values.
"""

from flambeau.nn.functional._activation import (
    celu,
    celu_,
    elu,
    elu_,
    gumbel_softmax,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    leaky_relu,
    leaky_relu_,
    log_softmax,
    mish,
    relu,
    relu6,
    relu_,
    rrelu,
    rrelu_,
    selu,
    selu_,
    silu,
    softmax,
    softmin,
    threshold,
    threshold_,
)
from flambeau.nn.functional._attention import (
    scaled_dot_product_attention,
)
from flambeau.nn.functional._classification_loss import (
    cross_entropy,
    multi_margin_loss,
    multilabel_margin_loss,
    nll_loss,
)
from flambeau.nn.functional._ctc import (
    ctc_loss,
)
from flambeau.nn.functional._dropout import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from flambeau.nn.functional._embedding import (
    embedding,
    embedding_bag,
    embedding_renorm_,
    one_hot,
)
from flambeau.nn.functional._linear_cross_entropy import (
    linear_cross_entropy,
)
from flambeau.nn.functional._loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
)
from flambeau.nn.functional._margin_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from flambeau.nn.functional._multi_head_attention import (
    multi_head_attention_forward,
)
from flambeau.nn.functional._normalization import (
    batch_norm,
    instance_norm,
)
from flambeau.nn.functional._pooling import (
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
    max_pool1d_with_indices,
    max_pool2d_with_indices,
    max_pool3d_with_indices,
)
from flambeau.nn.functional._resizing import (
    affine_grid,
    fold,
    grid_sample,
    interpolate,
    unfold,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)
from flambeau.ops.call import TENSORS as _ops

# Ops whose declared signature is PyTorch's.

linear = _ops.linear
bilinear = _ops.bilinear
conv1d, conv2d, conv3d = _ops.conv1d, _ops.conv2d, _ops.conv3d
conv_tbc = _ops.conv_tbc
conv_transpose1d = _ops.conv_transpose1d
conv_transpose2d = _ops.conv_transpose2d
conv_transpose3d = _ops.conv_transpose3d

max_pool1d, max_pool2d, max_pool3d = _ops.max_pool1d, _ops.max_pool2d, _ops.max_pool3d
max_unpool1d, max_unpool2d, max_unpool3d = _ops.max_unpool1d, _ops.max_unpool2d, _ops.max_unpool3d
avg_pool1d, avg_pool2d, avg_pool3d = _ops.avg_pool1d, _ops.avg_pool2d, _ops.avg_pool3d
lp_pool1d, lp_pool2d, lp_pool3d = _ops.lp_pool1d, _ops.lp_pool2d, _ops.lp_pool3d
adaptive_avg_pool1d = _ops.adaptive_avg_pool1d
adaptive_avg_pool2d = _ops.adaptive_avg_pool2d
adaptive_avg_pool3d = _ops.adaptive_avg_pool3d
adaptive_max_pool1d = _ops.adaptive_max_pool1d
adaptive_max_pool2d = _ops.adaptive_max_pool2d
adaptive_max_pool3d = _ops.adaptive_max_pool3d

sigmoid, tanh = _ops.sigmoid, _ops.tanh
logsigmoid, softplus, softsign, gelu, glu = (
    _ops.logsigmoid, _ops.softplus, _ops.softsign, _ops.gelu, _ops.glu,
)  # fmt: skip
hardshrink, softshrink, tanhshrink, prelu = (
    _ops.hardshrink, _ops.softshrink, _ops.tanhshrink, _ops.prelu,
)  # fmt: skip

layer_norm, rms_norm, group_norm = _ops.layer_norm, _ops.rms_norm, _ops.group_norm
local_response_norm, normalize = _ops.local_response_norm, _ops.normalize

pad = _ops.pad
pixel_shuffle, pixel_unshuffle = _ops.pixel_shuffle, _ops.pixel_unshuffle
channel_shuffle = native_channel_shuffle = _ops.channel_shuffle
cosine_similarity, pairwise_distance, pdist = _ops.cosine_similarity, _ops.pairwise_distance, _ops.pdist

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "affine_grid", "alpha_dropout", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits",
    "celu", "celu_", "channel_shuffle", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "ctc_loss",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "elu_", "embedding", "embedding_bag", "embedding_renorm_",
    "feature_alpha_dropout", "fold", "fractional_max_pool2d", "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d", "fractional_max_pool3d_with_indices", "gaussian_nll_loss", "gelu", "glu", "grid_sample",
    "group_norm", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_",
    "hinge_embedding_loss", "huber_loss", "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm",
    "leaky_relu", "leaky_relu_", "linear", "linear_cross_entropy", "local_response_norm", "log_softmax", "logsigmoid",
    "lp_pool1d", "lp_pool2d", "lp_pool3d", "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d",
    "mish", "mse_loss", "multi_head_attention_forward", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "native_channel_shuffle", "nll_loss", "normalize", "one_hot", "pad",
    "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu6",
    "relu_", "rms_norm", "rrelu", "rrelu_", "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu",
    "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh",
    "tanhshrink", "threshold", "threshold_", "triplet_margin_loss", "triplet_margin_with_distance_loss", "unfold",
    "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip
