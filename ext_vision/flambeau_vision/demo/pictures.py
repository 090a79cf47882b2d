"""The two pictures of ``flambeau demo``, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau_vision.pillow import require_pillow
from flambeau_vision.utils import save_picture

if TYPE_CHECKING:
    from flambeau_vision.demo.training import History

_INK, _GREY, _PALE = "#222222", "#888888", "#e4e4e4"
_TRAIN, _TEST, _STEPS, _WRONG = "#1f6fb4", "#d9531e", "#c3d9ea", "#c62828"
_SCALE = 2  # everything is drawn twice as large and then reduced, for smooth lines


class _Canvas:
    """A white picture with lines and text in its own units."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.picture = require_pillow("demo").new("RGB", (width * _SCALE, height * _SCALE), "white")
        from PIL import ImageDraw

        self._draw = ImageDraw.Draw(self.picture)

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float = 1) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=color, width=round(width * _SCALE), joint="curve")

    def dot(self, x: float, y: float, color: str, radius: float = 2.5) -> None:
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE, (x + radius) * _SCALE, (y + radius) * _SCALE]
        self._draw.ellipse(box, fill=color)

    def text(self, x: float, y: float, text: str, color: str = _INK, size: int = 13, anchor: str = "lm") -> None:
        from PIL import ImageFont

        self._draw.text((x * _SCALE, y * _SCALE), text, color, ImageFont.load_default(size * _SCALE), anchor=anchor)

    def paste(self, picture: Any, x: int, y: int, side: int) -> None:
        resampling = require_pillow("demo").Resampling
        self.picture.paste(picture.resize((side * _SCALE, side * _SCALE), resampling.NEAREST), (x * _SCALE, y * _SCALE))

    def save(self, path: str) -> None:
        save_picture(self.picture.resize(self.size, require_pillow("demo").Resampling.LANCZOS), path, "PNG")


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``count`` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


class _Plot:
    """Axes at a place of a canvas, for data from 0 to ``epochs`` and from ``low`` to ``high``."""

    def __init__(self, canvas: _Canvas, title: str, left: int, epochs: int, low: float, high: float) -> None:
        self.canvas, self.epochs, self.low, self.high = canvas, epochs, low, high
        self.left, self.right, self.top, self.bottom = left, left + 400, 50, 310
        canvas.text(self.left, 24, title, size=16)
        for value in _ticks(low, high):
            y = self._y(value)
            canvas.line([(self.left, y), (self.right, y)], _PALE)
            canvas.text(self.left - 8, y, f"{value:g}", _GREY, anchor="rm")
        for epoch in _ticks(0, epochs):
            if epoch == round(epoch):
                canvas.text(self._x(epoch), self.bottom + 14, f"{epoch:g}", _GREY, anchor="mm")
        canvas.text((self.left + self.right) / 2, self.bottom + 34, "epoch", _GREY, anchor="mm")
        canvas.line([(self.left, self.bottom), (self.right, self.bottom)], _GREY)

    def _x(self, epoch: float) -> float:
        return self.left + (self.right - self.left) * epoch / self.epochs

    def _y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share

    def curve(
        self, epochs: Sequence[float], values: Sequence[float], color: str, width: float = 2, dots: bool = True
    ) -> None:
        points = [(self._x(x), self._y(y)) for x, y in zip(epochs, values, strict=True) if math.isfinite(y)]
        if len(points) > 1:
            self.canvas.line(points, color, width)
        for x, y in points if dots else []:
            self.canvas.dot(x, y, color)

    def legend(self, entries: Sequence[tuple[str, str]], y: int) -> None:
        for row, (name, color) in enumerate(entries):
            height = y + 20 * row
            self.canvas.line([(self.right - 120, height), (self.right - 95, height)], color, 2)
            self.canvas.text(self.right - 88, height, name, size=12)


def draw_history(history: History, path: str) -> None:
    """Draw the loss (of each step, and the means of each epoch) and the accuracy over the epochs.

    Raises:
        ImportError: when Pillow is not installed.
    """
    canvas = _Canvas(980, 370)
    count = len(history.train_loss)
    epochs = list(range(1, count + 1))
    steps = [(number + 1) * count / len(history.step_losses) for number in range(len(history.step_losses))]
    highest = max((value for value in history.step_losses + history.test_loss if math.isfinite(value)), default=1.0)
    loss = _Plot(canvas, "Loss", 60, count, 0, highest * 1.05 or 1.0)
    loss.curve(steps, history.step_losses, _STEPS, 1, dots=False)
    middles = [epoch - 0.5 for epoch in epochs]  # where the mean of an epoch belongs
    loss.curve(middles, history.train_loss, _TRAIN)
    loss.curve(epochs, history.test_loss, _TEST)
    loss.legend([("training", _TRAIN), ("test", _TEST), ("each step", _STEPS)], 65)
    train, test = ([100 * value for value in values] for values in (history.train_accuracy, history.test_accuracy))
    lowest = 10 * min(min(train + test) // 10, 9)
    accuracy = _Plot(canvas, f"Accuracy, %: {test[-1]:.1f} on the test images", 540, count, lowest, 100)
    accuracy.curve(middles, train, _TRAIN)
    accuracy.curve(epochs, test, _TEST)
    accuracy.legend([("training", _TRAIN), ("test", _TEST)], 260)
    canvas.save(path)


def draw_predictions(images: Any, targets: Sequence[int], predicted: Sequence[int], path: str) -> None:
    """Draw some images of the test set with what was predicted, and as many of those that were mistaken.

    Args:
        images: uint8 array (N, H, W).
        targets: what the images are.
        predicted: what the model says.
        path: where to write the PNG.

    Raises:
        ImportError: when Pillow is not installed.
    """
    columns, side, gap, line = 10, 64, 10, 22
    first = list(range(min(3 * columns, len(images))))
    mistakes = [number for number in range(len(images)) if predicted[number] != targets[number]]
    shown = mistakes[: 2 * columns]
    rows = math.ceil(len(first) / columns) + math.ceil(len(shown) / columns)
    headings = 40
    canvas = _Canvas(columns * (side + gap) + gap, rows * (side + line + gap) + headings * (2 if shown else 1) + gap)
    top = 0

    def block(title: str, numbers: Sequence[int], top: int) -> int:
        canvas.text(gap, top + headings / 2, title, size=15)
        top += headings
        for place, number in enumerate(numbers):
            x = gap + place % columns * (side + gap)
            y = top + place // columns * (side + line + gap)
            canvas.paste(require_pillow("demo").fromarray(255 - images[number]), x, y, side)
            right = predicted[number] == targets[number]
            caption = f"{predicted[number]}" if right else f"{predicted[number]}, is {targets[number]}"
            canvas.text(x + side / 2, y + side + line / 2, caption, _INK if right else _WRONG, 15, "mm")
        return top + math.ceil(len(numbers) / columns) * (side + line + gap)

    top = block(f"The first {len(first)} test images and their predictions", first, top)
    if shown:
        of_all = "" if len(shown) == len(mistakes) else f"the first {len(shown)} of "
        block(f"Mistakes: {of_all}{len(mistakes)} among {len(images)} test images", shown, top)
    canvas.save(path)
