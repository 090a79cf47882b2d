"""Datasets of images."""

from flambeau_vision.datasets.digits import Digits
from flambeau_vision.datasets.folder import IMG_EXTENSIONS, DatasetFolder, ImageFolder
from flambeau_vision.datasets.idx import read_idx, write_idx
from flambeau_vision.datasets.mnist import KMNIST, MNIST, FashionMNIST
from flambeau_vision.datasets.vision import VisionDataset

__all__ = [
    "IMG_EXTENSIONS",
    "KMNIST",
    "MNIST",
    "DatasetFolder",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "VisionDataset",
    "read_idx",
    "write_idx",
]
