"""Single convolutions of well-known networks, for `benchmarks/run.py --workloads convolutions`.

Two rows a layer: its forward pass, and the gradients with respect to input and weight by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]
WORKLOADS: dict[str, Callable[[Any], Step]] = {}


def layer(
    name: str, input: tuple[int, ...], weight: tuple[int, ...], transposed: bool = False, **settings: int
) -> None:
    """Register a layer: the shapes of input and weight, and what else the functional form is to be given."""
    suffix = f"{'_transpose' if transposed else ''}{len(input) - 2}d"

    def prepared(torch: Any) -> tuple[Any, Any, Any]:
        x, w = torch.randn(*input, requires_grad=True), torch.randn(*weight, requires_grad=True)
        return x, w, getattr(torch.nn.functional, f"conv{suffix}")

    def forward(torch: Any) -> Step:
        x, w, convolution = prepared(torch)

        def step() -> Any:
            with torch.no_grad():
                return convolution(x, w, **settings)

        return step

    def gradients(torch: Any) -> Step:
        x, w, convolution = prepared(torch)
        y = convolution(x, w, **settings)
        cotangent = torch.randn(*y.shape)
        return lambda: torch.autograd.grad(y, (x, w), cotangent, retain_graph=True)

    WORKLOADS[f"{name}, forward"] = forward
    WORKLOADS[f"{name}, gradients"] = gradients


layer("ResNet 64 3x3 @56, batch 8", (8, 64, 56, 56), (64, 64, 3, 3), padding=1)
layer("ResNet 128 3x3 @28, batch 8", (8, 128, 28, 28), (128, 128, 3, 3), padding=1)
layer("ResNet 256 3x3 @14, batch 8", (8, 256, 14, 14), (256, 256, 3, 3), padding=1)
layer("ResNet 512 3x3 @7, batch 8", (8, 512, 7, 7), (512, 512, 3, 3), padding=1)
layer("ResNet 3-64 7x7/2 @224, batch 8", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
layer("ResNet 64-128 3x3/2 @56, batch 8", (8, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1)
layer("ResNet-50 256-64 1x1 @56, batch 8", (8, 256, 56, 56), (64, 256, 1, 1))
layer("ResNeXt 256 3x3 @28, 32 groups, batch 8", (8, 256, 28, 28), (256, 8, 3, 3), padding=1, groups=32)
layer("VGG 64 3x3 @224, batch 2", (2, 64, 224, 224), (64, 64, 3, 3), padding=1)
layer("VGG 512 3x3 @28, batch 2", (2, 512, 28, 28), (512, 512, 3, 3), padding=1)
layer("UNet 128-64 3x3 @96, batch 4", (4, 128, 96, 96), (64, 128, 3, 3), padding=1)
layer("UNet 128-64 transposed 2x2/2 @48, batch 4", (4, 128, 48, 48), (128, 64, 2, 2), True, stride=2)
layer("YOLO 32-64 3x3/2 @208, batch 4", (4, 32, 208, 208), (64, 32, 3, 3), stride=2, padding=1)
layer("YOLO 256-512 3x3 @26, batch 4", (4, 256, 26, 26), (512, 256, 3, 3), padding=1)
layer("DCGAN 128-64 transposed 4x4/2 @8, batch 64", (64, 128, 8, 8), (128, 64, 4, 4), True, stride=2, padding=1)
layer("DCGAN 64-3 transposed 4x4/2 @32, batch 64", (64, 64, 32, 32), (64, 3, 4, 4), True, stride=2, padding=1)
layer("MobileNet 32 3x3 depthwise @112, batch 8", (8, 32, 112, 112), (32, 1, 3, 3), padding=1, groups=32)
layer("MobileNet 96 3x3/2 depthwise @112, batch 8", (8, 96, 112, 112), (96, 1, 3, 3), stride=2, padding=1, groups=96)
layer("MobileNet 144 3x3 depthwise @56, batch 8", (8, 144, 56, 56), (144, 1, 3, 3), padding=1, groups=144)
layer("MobileNet 576 3x3 depthwise @14, batch 8", (8, 576, 14, 14), (576, 1, 3, 3), padding=1, groups=576)
layer("WaveNet 64 k2 dilated 64 @8000, batch 4", (4, 64, 8000), (64, 64, 2), dilation=64)
layer("wav2vec 512 k3/2 @3200, batch 2", (2, 512, 3200), (512, 512, 3), stride=2)
layer("DeepSpeech 128 k11 @1000, batch 8", (8, 128, 1000), (128, 128, 11), padding=5)
layer("Conformer 256 k31 depthwise @500, batch 8", (8, 256, 500), (256, 1, 31), padding=15, groups=256)
layer("3-d UNet 32 3x3x3 @32, batch 1", (1, 32, 32, 32, 32), (32, 32, 3, 3, 3), padding=1)
