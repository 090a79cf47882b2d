"""The command line of ``flambeau demo``; what it does is imported when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_command(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``demo`` to the subcommands."""
    parser = subparsers.add_parser(
        "demo",
        help="train a network on handwritten digits",
        description="Train a network on handwritten digits with augmentation, test it on held-out images, draw the "
        "loss and the predictions, save a checkpoint, and check that it predicts the same after loading.",
    )
    parser.add_argument("--device", help="where to compute: cpu, cuda:0, opencl ... (default: the default device)")
    parser.add_argument("--model", choices=("lenet", "resnet18"), default="lenet", help="default: %(default)s")
    parser.add_argument("--epochs", type=_at_least(1), metavar="N", help="default: what fits the model and the data")
    parser.add_argument("--data", metavar="DIR", help="folder of MNIST-format files (default: the bundled digits)")
    parser.add_argument(
        "--out", metavar="DIR", default="flambeau-demo", help="for what it writes (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=_at_least(2), metavar="N", default=64, help="default: %(default)s")
    parser.add_argument("--seed", type=_at_least(0), metavar="N", default=0, help="default: %(default)s")
    parser.add_argument(
        "--workers", type=_at_least(0), metavar="N", default=0, help="processes that load data (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return value

    return number


def _run(arguments: argparse.Namespace) -> int:
    from flambeau_vision.demo.training import Settings, run

    run(
        Settings(
            device=arguments.device,
            model=arguments.model,
            epochs=arguments.epochs,
            data=arguments.data,
            out=arguments.out,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            workers=arguments.workers,
        )
    )
    return 0
