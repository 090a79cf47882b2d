"""Which ops run in which dtype inside ``autocast``: PyTorch's lists for the CPU, and those for CUDA for all others.

An op that is on no list takes its inputs as they are; mixed dtypes promote as always.
"""

from __future__ import annotations

# In the fast dtype.
_FAST = {
    "addbmm", "addmm", "attention", "attention_weights", "attention_with_dropout", "baddbmm", "bmm", "chain_matmul",
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
    "einsum", "linalg_multi_dot", "linalg_vecdot", "linear", "lstm_layer", "matmul", "mm", "prelu", "rnn_layer",
}  # fmt: skip

# In float32, unless a `dtype=` is given.
_LOSSES = {
    "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cross_entropy", "cross_entropy_with_probabilities",
    "ctc_nll", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "margin_ranking_loss", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "poisson_nll_loss", "smooth_l1_loss",
    "soft_margin_loss", "triplet_margin_loss",
}  # fmt: skip

# In the widest dtype among the inputs.
_WIDEST = {"addcdiv", "addcmul", "atan2", "cat", "dot", "index_copy", "index_put", "scatter_add", "stack", "vdot"}

# With what they are given, although the ops that they are made of are listed.
_AS_GIVEN = {"addmv", "addr", "bilinear", "dot", "linalg_cross", "cross", "mv", "outer", "vdot"}

CPU: dict[str, set[str]] = {
    "fast": _FAST,
    "float32": _LOSSES | {
        "adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "binary_cross_entropy", "cdist", "cholesky",
        "cholesky_inverse", "cholesky_solve", "fft_c2c", "fft_c2r", "fft_r2c", "fractional_max_pool2d",
        "fractional_max_pool3d", "geqrf", "grid_sample_at", "inverse", "linalg_cholesky", "linalg_cholesky_ex",
        "linalg_cond", "linalg_eig", "linalg_eigh", "linalg_eigvals", "linalg_eigvalsh",
        "linalg_householder_product", "linalg_inv", "linalg_inv_ex", "linalg_lstsq", "linalg_matrix_rank",
        "linalg_qr", "linalg_solve", "linalg_svd", "linalg_svdvals", "linalg_tensorinv", "linalg_tensorsolve",
        "lu_solve", "max_pool3d", "max_unpool2d", "max_unpool3d", "nanquantile", "orgqr",
        "ormqr", "pinverse", "polar", "prod", "qr", "quantile", "reflection_pad", "replication_pad", "svd", "trace",
        "triangular_solve",
        # PyTorch's GRU on the CPU multiplies in the fast dtype and keeps its state, and so its output, in float32.
        "gru_layer",
    },
    "widest": {"cat", "index_copy", "stack"},
    "as given": _AS_GIVEN,
    "refused": set(),
}  # fmt: skip

OTHERS: dict[str, set[str]] = {
    "fast": _FAST | {"addmv", "addr", "gru_layer", "mv"},
    "float32": _LOSSES | {
        "acos", "asin", "cdist", "cosh", "cosine_similarity", "cumprod", "cumsum", "dist", "erfinv", "exp", "expm1",
        "frobenius_norm", "group_norm", "layer_norm", "linalg_matrix_norm", "linalg_norm", "linalg_vector_norm",
        "log", "log10", "log1p", "log2", "log_softmax", "logsumexp", "native_layer_norm", "norm", "normalize",
        "nuclear_norm", "pdist", "pow", "prod", "reciprocal", "renorm", "resample", "rms_norm", "rsqrt", "sinh",
        "softmax", "softplus", "sum", "tan",
    },
    "widest": _WIDEST | {"bilinear", "cross", "grid_sample_at", "linalg_cross", "tensordot"},
    "as given": set(),
    "refused": {"binary_cross_entropy"},
}  # fmt: skip


def lists_of(device_type: str) -> dict[str, set[str]]:
    """The names of ops by policy."""
    return CPU if device_type == "cpu" else OTHERS
