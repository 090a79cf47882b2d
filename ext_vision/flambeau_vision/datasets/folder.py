"""Datasets from folders: one folder a class, one file an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from flambeau_vision.datasets.vision import Transform, VisionDataset
from flambeau_vision.pillow import require_pillow

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class DatasetFolder(VisionDataset):
    """Files sorted into classes by folder: ``root/CLASS/anything/below/file.ext``.

    Args:
        root: the folder that has a folder for each class.
        loader: gives the sample from its path.
        extensions: endings of the files that are samples; or
        is_valid_file: tells from a path whether it is one. Exactly one of the two.
        transform, target_transform: called on each sample and on each class's number.
        allow_empty: let a class have no files.

    Attributes:
        classes: names of the classes, sorted.
        class_to_idx: the number of each class.
        samples: ``(path, number of the class)`` of each sample, sorted.
        targets: the numbers alone.

    Raises:
        FileNotFoundError: when ``root`` is no folder, has none in it, or a class has no valid files.
        ValueError: when not exactly one of ``extensions`` and ``is_valid_file`` is given.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: Sequence[str] | None = None,
        transform: Transform = None,
        target_transform: Transform = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform, target_transform)
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("DatasetFolder: give either extensions or is_valid_file, and not both")
        if is_valid_file is None:
            endings = tuple(extensions)  # type: ignore[arg-type]

            def is_valid_file(path: str) -> bool:
                return path.lower().endswith(endings)

        self.loader = loader
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples: list[tuple[str, int]] = []
        for name, number in self.class_to_idx.items():
            found = [(path, number) for path in _files(os.path.join(self.root, name)) if is_valid_file(path)]
            if not found and not allow_empty:
                expected = f" (with one of the extensions {', '.join(extensions)})" if extensions else ""
                raise FileNotFoundError(
                    f"{type(self).__name__}: the class {name!r} in {self.root!r} has no valid file{expected}"
                )
            self.samples += found
        self.targets = [number for _, number in self.samples]

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """The names of the classes and their numbers; override to choose them otherwise."""
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"{type(self).__name__}: {directory!r} is not a folder")
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(
                f"{type(self).__name__}: {directory!r} has no folders in it; there should be one for each class"
            )
        return classes, {name: number for number, name in enumerate(classes)}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, number = self.samples[index]
        return self._pair(self.loader(path), number)


def _files(folder: str) -> list[str]:
    """Every file below ``folder``, in an order that does not depend on the file system."""
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)


def load_image(path: str) -> Any:
    """The image at ``path`` as an RGB picture of Pillow, read entirely."""
    image_module = require_pillow("ImageFolder")
    with open(path, "rb") as file:
        return image_module.open(file).convert("RGB")


class ImageFolder(DatasetFolder):
    """Images sorted into classes by folder (``root/cat/1.png``, ``root/dog/2.jpg`` ...), read with Pillow.

    An item is ``(image, number of the class)``, the image an RGB :class:`PIL.Image.Image`.
    Arguments and attributes are those of :class:`DatasetFolder`; ``imgs`` is another name for ``samples``.

    Raises:
        ImportError: when Pillow is not installed and no ``loader`` is given.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform = None,
        target_transform: Transform = None,
        loader: Callable[[str], Any] = load_image,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        if loader is load_image:
            require_pillow("ImageFolder")
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
