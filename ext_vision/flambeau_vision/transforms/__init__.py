"""Transforms of images, for datasets and batches, under the names of ``torchvision.transforms``."""

from flambeau_vision.transforms import functional
from flambeau_vision.transforms.basic import (
    CenterCrop,
    Compose,
    Lambda,
    Normalize,
    Pad,
    Resize,
    ToPILImage,
    ToTensor,
    Transform,
)
from flambeau_vision.transforms.random import (
    RandomAffine,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from flambeau_vision.transforms.sampling import InterpolationMode

__all__ = [
    "CenterCrop",
    "Compose",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "Pad",
    "RandomAffine",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "ToPILImage",
    "ToTensor",
    "Transform",
    "functional",
]
