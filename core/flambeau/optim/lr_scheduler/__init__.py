"""Learning-rate schedulers: they change ``lr`` in an optimizer's parameter groups, once a ``step()``.

Where PyTorch computes a rate from the one before (so that schedulers can be chained), so do these; the values are the
same to the last bit.
"""

from flambeau.optim.lr_scheduler._base import LRScheduler
from flambeau.optim.lr_scheduler._composed import ChainedScheduler, SequentialLR
from flambeau.optim.lr_scheduler._cyclic import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR
from flambeau.optim.lr_scheduler._decay import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from flambeau.optim.lr_scheduler._plateau import ReduceLROnPlateau

#: The name of the base class in programs for PyTorch before 2.0.
_LRScheduler = LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
