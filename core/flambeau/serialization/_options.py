"""What can be set about saving and loading (``torch.serialization``): defaults, devices of one's own, files without
data."""

from __future__ import annotations

import enum
import mmap
from collections.abc import Callable
from typing import Any, NamedTuple

Tagger = Callable[[Any], str | None]
Deserializer = Callable[[Any, str], Any]


class LoadEndianness(enum.Enum):
    """The byte order of files that do not say which they have."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class _Options:
    """The values in force."""

    endianness: LoadEndianness | None = None
    crc32 = True
    mmap_flags: int = getattr(mmap, "MAP_PRIVATE", 2)
    skip_data = False


options = _Options()


def get_default_load_endianness() -> LoadEndianness | None:
    """What :func:`set_default_load_endianness` set; None for little."""
    return options.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order of files that do not say which they have (PyTorch before 2.1 did not write it).

    Raises:
        TypeError: when it is no :class:`LoadEndianness`.
    """
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError(
            "set_default_load_endianness: Invalid argument type in function set_default_load_endianness; expected a "
            f"LoadEndianness or None, got {type(endianness).__name__}"
        )
    options.endianness = endianness


def get_crc32_options() -> bool:
    """Whether :func:`~flambeau.save` computes checksums."""
    return options.crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Set whether :func:`~flambeau.save` computes checksums. Without them, saving is a little faster, unzip complains,
    and damage to the numbers of a tensor goes unnoticed."""
    options.crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """How ``load(mmap=True)`` maps files: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return options.mmap_flags


class set_default_mmap_options:
    """Set how ``load(mmap=True)`` maps files, for good or for a ``with`` block.

    Args:
        flags: ``mmap.MAP_PRIVATE``, as it is at first: what is written into the tensors stays in this process; or
            ``mmap.MAP_SHARED``: it goes into the file.

    Raises:
        ValueError: for other flags.
    """

    def __init__(self, flags: int) -> None:
        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self._before = options.mmap_flags
        options.mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        options.mmap_flags = self._before


class skip_data:
    """Inside a ``with`` block, :func:`~flambeau.save` leaves zeros where the numbers of tensors would be.

    The file has the form and the size of the checkpoint, to be filled in later by others. On file systems that know
    holes it takes hardly any room.

    Args:
        materialize_fake_tensors: accepted; there are no fake tensors here.
    """

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        self._before = options.skip_data
        options.skip_data = True

    def __exit__(self, *error: object) -> None:
        options.skip_data = self._before


# -- devices -------------------------------------------------------------------------------------------------------


class _Package(NamedTuple):
    priority: int
    tagger: Tagger
    deserializer: Deserializer


_packages: list[_Package] = []


def register_package(priority: int, tagger: Tagger, deserializer: Deserializer) -> None:
    """Say how storages are named and placed (``torch.serialization.register_package``).

    What is registered is asked in the order of ``priority``, the lowest first, before Flambeau's own way.

    Args:
        priority: see above.
        tagger: the location, a string, that is written for a storage, or None.
        deserializer: the storage, moved, for a storage on the CPU and the location of the file (or of
            ``map_location``), or None.
    """
    _packages.append(_Package(priority, tagger, deserializer))
    _packages.sort(key=lambda package: package.priority)


def registered_location(storage: Any) -> str | None:
    """What the registered taggers say of a storage."""
    found = (package.tagger(storage) for package in _packages)
    return next((location for location in found if location is not None), None)


def registered_storage(storage: Any, location: str) -> Any:
    """What the registered deserializers make of a storage, None when they leave it."""
    found = (package.deserializer(storage, location) for package in _packages)
    return next((moved for moved in found if moved is not None), None)


def any_registered() -> bool:
    """Whether there is a package."""
    return bool(_packages)
