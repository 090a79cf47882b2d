"""TensorBoard's log files (``torch.utils.tensorboard``), written by the library tensorboardX.

``pip install 'flambeau[tensorboard]'`` brings tensorboardX, which is all that writing needs. To look at the files,
``pip install tensorboard`` and run ``tensorboard --logdir runs``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

try:
    import tensorboardX
except ImportError as error:
    raise ImportError(
        "flambeau.utils.tensorboard needs tensorboardX: pip install 'flambeau[tensorboard]'", name="tensorboardX"
    ) from error

from flambeau.tensor import Tensor

__all__ = ["SummaryWriter"]


def _host(value: Any) -> Any:
    """Tensors of any device, also in lists and dicts, as NumPy arrays."""
    if isinstance(value, Tensor):
        array = value.detach().cpu()
        return array.float().numpy() if array.dtype.name == "bfloat16" else array.numpy()
    if isinstance(value, dict):
        return {key: _host(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_host(inner) for inner in value]
    return value


class SummaryWriter:
    """Writes what training shows to files that TensorBoard displays (``torch.utils.tensorboard.SummaryWriter``).

    Wherever numbers are expected, tensors of any device, arrays and Python numbers are taken. ``global_step`` is the
    number that a value is drawn over, ``walltime`` its time in seconds, the present unless given.

    Args:
        log_dir: the folder, ``runs/DATE_HOST`` unless given.
        comment: the end of that folder's name.
        purge_step: drop what was logged from this step on, when a run goes on after a crash.
        max_queue, flush_secs: write after so many values or seconds.
        filename_suffix: the end of the file's name.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        self._writer = tensorboardX.SummaryWriter(
            log_dir, comment, purge_step, max_queue, flush_secs, filename_suffix, write_to_disk=True
        )
        self.log_dir: str = self._writer.logdir

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None,
        new_style: bool = False, double_precision: bool = False,
    ) -> None:  # fmt: skip
        """Log a number."""
        number = scalar_value.item() if isinstance(scalar_value, Tensor) else scalar_value
        self._writer.add_scalar(tag, number, global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log several numbers to be drawn into one diagram."""
        numbers = {tag: v.item() if isinstance(v, Tensor) else v for tag, v in tag_scalar_dict.items()}
        self._writer.add_scalars(main_tag, numbers, global_step, walltime)

    def add_histogram(
        self, tag: str, values: Any, global_step: int | None = None, bins: Any = "tensorflow",
        walltime: float | None = None, max_bins: int | None = None,
    ) -> None:  # fmt: skip
        """Log how the elements of a tensor are distributed."""
        self._writer.add_histogram(tag, _host(values), global_step, bins, walltime, max_bins)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:  # fmt: skip
        """Log a picture: (C, H, W) with 1 or 3 channels, floats from 0 to 1 or uint8; ``dataformats`` for others."""
        self._writer.add_image(tag, _host(img_tensor), global_step, walltime, dataformats)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:  # fmt: skip
        """Log pictures side by side: (N, C, H, W)."""
        self._writer.add_images(tag, _host(img_tensor), global_step, walltime, dataformats)

    def add_image_with_boxes(
        self, tag: str, img_tensor: Any, box_tensor: Any, global_step: int | None = None, walltime: float | None = None,
        rescale: float = 1, dataformats: str = "CHW", labels: list[str] | None = None,
    ) -> None:  # fmt: skip
        """Log a picture with boxes (N, 4), each left, top, right, bottom."""
        self._writer.add_image_with_boxes(
            tag, _host(img_tensor), _host(box_tensor), global_step, walltime, dataformats=dataformats, labels=labels
        )

    def add_figure(
        self, tag: str, figure: Any, global_step: int | None = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """Log a figure of Matplotlib, or several."""
        self._writer.add_figure(tag, figure, global_step, close, walltime)

    def add_video(
        self, tag: str, vid_tensor: Any, global_step: int | None = None, fps: float = 4, walltime: float | None = None
    ) -> None:
        """Log a film (N, T, C, H, W); needs the package moviepy."""
        self._writer.add_video(tag, _host(vid_tensor), global_step, fps, walltime)

    def add_audio(
        self, tag: str, snd_tensor: Any, global_step: int | None = None, sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log a sound (L,) or (1, L) with values from -1 to 1; needs the package soundfile."""
        self._writer.add_audio(tag, _host(snd_tensor).reshape(-1, 1), global_step, sample_rate, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Log a text, shown as Markdown."""
        self._writer.add_text(tag, text_string, global_step, walltime)

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Log what a model is made of, as the text of :func:`flambeau.summary` under the tag ``model``.

        Args:
            model: the module.
            input_to_model: a tensor or a tuple of them.
            verbose: print it too.
        """
        from flambeau.model_summary import summary

        text = str(summary(model, input_data=input_to_model, verbose=int(verbose)))
        self.add_text("model", "\n".join(f"    {line}" for line in text.splitlines()))

    def add_pr_curve(
        self, tag: str, labels: Any, predictions: Any, global_step: int | None = None, num_thresholds: int = 127,
        weights: Any = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log precision over recall of a classifier: ``labels`` true or false, ``predictions`` probabilities."""
        self._writer.add_pr_curve(
            tag, _host(labels), _host(predictions), global_step, num_thresholds, _host(weights), walltime
        )

    def add_embedding(
        self, mat: Any, metadata: Iterable[Any] | None = None, label_img: Any = None, global_step: int | None = None,
        tag: str = "default", metadata_header: Iterable[str] | None = None,
    ) -> None:  # fmt: skip
        """Log points (N, D) for the projector, with labels and with pictures (N, C, H, W)."""
        self._writer.add_embedding(_host(mat), metadata, _host(label_img), global_step, tag, metadata_header)

    def add_mesh(
        self, tag: str, vertices: Any, colors: Any = None, faces: Any = None, config_dict: dict[str, Any] | None = None,
        global_step: int | None = None, walltime: float | None = None,
    ) -> None:  # fmt: skip
        """Log a shape in space: vertices (B, N, 3), colours (B, N, 3), triangles (B, M, 3)."""
        self._writer.add_mesh(tag, _host(vertices), _host(colors), _host(faces), config_dict, global_step, walltime)

    def add_custom_scalars(self, layout: dict[str, Any]) -> None:
        """Say which numbers are drawn together: ``{page: {diagram: ["Multiline", [tags]]}}``."""
        self._writer.add_custom_scalars(layout)

    def add_hparams(
        self, hparam_dict: dict[str, Any], metric_dict: dict[str, Any], hparam_domain_discrete: Any = None,
        run_name: str | None = None, global_step: int | None = None,
    ) -> None:  # fmt: skip
        """Log a run's settings and what came of them, to compare runs."""
        self._writer.add_hparams(_plain(hparam_dict), _plain(metric_dict), run_name, global_step)

    def flush(self) -> None:
        """Write what is waiting."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is waiting, and close the file."""
        self._writer.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()}
