"""Damaged and hostile checkpoints: errors of the documented kinds, no code run, no memory for what is only claimed.

The default suite loads some hundreds of mutated files, the same ones every time. More of them:

    python tests/core/test_serialization_fuzz.py 10000
"""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import random
import struct
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import pytest

import flambeau
import flambeau.dispatch
from flambeau import nn
from flambeau.serialization._archive import ArchiveReader, ArchiveWriter

#: What :func:`flambeau.load` may raise for a file that is not right.
OWN_ERRORS = (RuntimeError, pickle.UnpicklingError)

#: More than any honest file of :func:`originals` takes.
MEMORY = 32 << 20

# What loading has no business with. ("open" is looked at apart: warnings read source lines.)
FORBIDDEN = (
    "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "exec", "compile", "pickle.find_class", "urllib.",
    "builtins.input", "signal.", "sys.settrace", "webbrowser.", "tempfile.",
)  # fmt: skip
_watching: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    if event.startswith(FORBIDDEN) or (
        event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    ):
        _watching.append(event)


@contextmanager
def watched() -> Iterator[list[str]]:
    """The audit events of what loading has no business with."""
    global _watching
    if not hasattr(watched, "hooked"):
        sys.addaudithook(_watch)  # for the rest of the process; it looks only inside this block
        watched.hooked = True  # type: ignore[attr-defined]
    _watching = []
    try:
        yield _watching
    finally:
        _watching = None


# -- files to begin with -------------------------------------------------------------------------------------------


def archive(obj: Any) -> bytes:
    stream = io.BytesIO()
    flambeau.save(obj, stream)
    return stream.getvalue()


def legacy() -> bytes:
    """A file as PyTorch wrote it before 1.6: pickles, then storages."""
    tensor = (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x06NtQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n"
        b")RtRs."
    )
    numbers = numpy.arange(6, dtype="<f4").tobytes()
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    return b"".join([*parts, tensor, pickle.dumps(["7"], 2), struct.pack("<q", 6), numbers])


def originals() -> list[bytes]:
    """Checkpoints of every form."""
    flambeau.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    net[3].weight = nn.Parameter(net[3].weight.detach())
    optimizer = flambeau.optim.Adam(net.parameters())
    net(flambeau.randn(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    base = flambeau.arange(24.0).reshape(4, 6)
    mixed = {
        "views": [base, base.t()[1:3], base[::2]],
        "numbers": (1, -1, 2**70, 0.5, 1 + 2j, None, True, "text", b"bytes", bytearray(b"array")),
        "types": (flambeau.float16, flambeau.Size([2, 3]), flambeau.device("cpu")),
        "numpy": [numpy.arange(6).reshape(2, 3), numpy.float64(1.5)],
        "sets": ({1, 2}, frozenset("ab"), collections.OrderedDict(a=1), collections.Counter("aab")),
        "kinds": [flambeau.ones(3, dtype=kind) for kind in (flambeau.bool, flambeau.complex64, flambeau.int8)],
        "parameter": nn.Parameter(flambeau.ones(2)),
        "empty": flambeau.zeros(0, 3),
    }
    return [
        archive({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}),
        archive(mixed),
        legacy(),
    ]


# -- mutations -----------------------------------------------------------------------------------------------------


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def move_a_piece(content: bytes, rng: random.Random) -> bytes:
    start, size, to = rng.randrange(len(content)), rng.choice((1, 4, 64, 500)), rng.randrange(len(content))
    piece = rng.choice((content[start : start + size], rng.randbytes(size), b"\0" * size, b""))
    return content[:to] + piece + content[to + rng.choice((0, len(piece), size)) :]


def records_of(content: bytes) -> dict[str, bytes]:
    found = ArchiveReader(io.BytesIO(content), "original")
    return {name: found.read(name).tobytes() for name in found.records}


def packed(records: list[tuple[str, bytes]], folder: str = "archive") -> bytes:
    """An archive whose checksums are right."""
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, folder)
    for name, data in records:
        writer.write(name, data)
    writer.close()
    return stream.getvalue()


def swap_records(content: bytes, rng: random.Random) -> bytes:
    records = {
        name: data for name, data in records_of(content).items() if name not in ("version", ".data/serialization_id")
    }
    names = list(records)
    for _ in range(rng.randrange(1, 4)):
        one, other = rng.choice(names), rng.choice(names)
        records[one], records[other] = records[other], records[one]
    if rng.random() < 0.3:
        del records[rng.choice(names)]
    return packed(list(records.items()))


def rename_records(content: bytes, rng: random.Random) -> bytes:
    """Duplicates, absolute paths, paths that lead out, and names of other things."""
    names = [
        "data.pkl", "data/0", "data/1", "../data.pkl", "../../etc/passwd", "/etc/passwd", "data/../../x", "",
        "data/-1", "constants.pkl", "byteorder", "data/" + "9" * 300, "data.pkl/", "data/0\0.txt", "\u202edata",
    ]  # fmt: skip
    records = [
        (rng.choice(names) if rng.random() < 0.4 else name, data)
        for name, data in records_of(content).items()
        if name not in ("version", ".data/serialization_id")
    ]
    return packed(records, rng.choice(("archive", "..", "/tmp", "a" * 200, "")))


def change_pickle(content: bytes, rng: random.Random) -> bytes:
    """Other instructions and arguments, in an archive whose checksums are right."""
    records = records_of(content)
    pickled = bytearray(records["data.pkl"])
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(pickled))
        how = rng.randrange(6)
        if how == 0:
            pickled[at] = rng.randrange(256)
        elif how == 1:
            pickled[at:at] = bytes(
                [rng.choice(b"().0123NRQtbcdeilopqrstu]}\x80\x81\x85\x86\x87\x88\x8a\x8b\x8c\x90\x91\x93\x94\x95")]
            )
        elif how == 2:
            del pickled[at : at + rng.choice((1, 2, 9))]
        elif how == 3:  # a large number where a small one was
            places = [i for i, byte in enumerate(pickled[:-1]) if byte == ord("K")]
            if places:
                place = rng.choice(places)
                number = rng.choice((2**31 - 1, -1, -(2**31), 10**6, 65536))
                pickled[place : place + 2] = b"J" + struct.pack("<i", number)
        elif how == 4:
            places = [i for i, byte in enumerate(pickled[:-1]) if byte == ord("K")]
            if places:
                place = rng.choice(places)
                number = rng.choice((2**62, 2**63, -(2**63), 10**18)).to_bytes(9, "little", signed=True)
                pickled[place : place + 2] = b"\x8a\x09" + number
        else:
            start = rng.randrange(len(pickled))
            pickled[at:at] = pickled[start : start + rng.choice((3, 20, 100))]
    records["data.pkl"] = bytes(pickled)
    return packed([item for item in records.items() if item[0] not in ("version", ".data/serialization_id")])


def only_pickle(pickled: bytes) -> bytes:
    return packed([("data.pkl", pickled)])


def hostile_pickle(content: bytes, rng: random.Random) -> bytes:
    """Pickles made to do harm: calls, deep nesting, references to themselves, sizes that are only claimed."""
    depth = rng.choice((10, 900, 5000, 200_000))
    function = rng.choice(
        (b"cos\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nexec\n", b"csubprocess\nPopen\n",
         b"cbuiltins\n__import__\n",
         b"cbuiltins\ngetattr\n", b"cnumpy\nfromfile\n", b"cflambeau\nload\n", b"ctorch\nload\n", b"cio\nopen\n",
         b"cbuiltins\nopen\n", b"cposix\nsystem\n", b"coperator\nattrgetter\n", b"ccodecs\ndecode\n")
    )  # fmt: skip
    number = rng.choice(
        (b"\x8a\x08" + struct.pack("<q", 2**62), b"J" + struct.pack("<i", 2**31 - 1), b"\x8a\xff" + b"\x7f" * 255)
    )
    choices: list[bytes] = [
        b"\x80\x02" + function + b"X\x08\x00\x00\x00touch /x\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.",
        b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".",
        b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s.",  # a dict whose key is tuple in tuple in tuple
        b"\x80\x02cbuiltins\nset\n]" + b")" + b"\x85" * depth + b"a\x85R.",
        b"\x80\x02ccollections\nCounter\n]" + b")" + b"\x85" * depth + b"a\x85R.",
        b"\x80\x02]q\x00h\x00a.",  # a list that holds itself
        b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00u.",
        b"\x80\x02]" + b"q\x00]h\x00ah\x00a" * 60 + rng.choice((b".", b"Q.", b")R.", b")\x81.", b"}b.")),
        b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + rng.choice((b"K\x01s.", b"Q.", b")R.", b")\x81.", b".")),
        b"\x80\x02cbuiltins\nbytearray\n" + number + b"\x85R.",
        b"\x80\x02cbuiltins\nbytes\n" + number + b"\x85R.",
        b"\x80\x02ctorch\nSize\n(" + number * 4 + b"t\x85R.",
        b"\x80\x02ctorch\nFloatStorage\n" + number + b"\x85R.",
        b"\x80\x02ctorch\nTensor\n" + number + b"\x85R.",
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + number + b"NtQ.",
        b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + number + b"X\x03\x00\x00\x00cpuK\x01NtQ.",
        b"\x80\x02(X\x07\x00\x00\x00storage" + number + number + number + number + b"NtQ.",
        b"\x80\x02" + number + b"Q.",
        b"\x80\x02ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat32\n" + number + number + b"\x86"
        + number + number + b"\x86\x89tR.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number + b"\x85U\x01b\x87R.",
        b"\x80\x02cnumpy\ndtype\n(U\x0a" + rng.choice((b"V999999999", b"O4        ", b"(9,9,9)f8 ")) + b"\x89\x88tR.",
        b"\x80\x02\x8b" + struct.pack("<i", rng.choice((2**31 - 1, -5))) + b"abc.",
        b"\x80\x02\x8d" + struct.pack("<Q", 2**63) + b"abc.",
        b"\x80\x02r" + struct.pack("<I", 2**32 - 1) + b"N.",
        b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\xff.",
        rng.randbytes(rng.randrange(1, 200)),
    ]  # fmt: skip
    return only_pickle(rng.choice(choices))


def bomb(content: bytes, rng: random.Random) -> bytes:
    """Archives that say little and mean much: compressed zeros, sizes that are only claimed, the same name twice."""
    stream = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(stream, "w", packing) as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that are there already
        for name in ("data.pkl", *(rng.choice(("data/0", "data.pkl", "byteorder", "../x")) for _ in range(3))):
            out.writestr(f"archive/{name}", b"\0" * rng.choice((0, 10, 4_000_000)))
    made = bytearray(stream.getvalue())
    if rng.random() < 0.5:  # other sizes in the directory
        at = made.rfind(b"PK\x01\x02")
        made[at + 20 : at + 28] = struct.pack("<II", *(rng.choice((0, 1, 2**32 - 1, 2**31)) for _ in range(2)))
    return bytes(made)


EVERY = (flip, truncate, move_a_piece)
OF_ARCHIVES = (swap_records, rename_records, change_pickle, change_pickle, change_pickle, hostile_pickle, bomb)


def mutated(seed: int, files: list[bytes]) -> tuple[Callable[..., bytes], bytes]:
    """File number ``seed``."""
    rng = random.Random(seed)
    content = rng.choice(files)
    is_archive = content[:2] == b"PK"
    mutation = rng.choice((*EVERY, *OF_ARCHIVES) if is_archive else EVERY)
    return mutation, mutation(content, rng)


# -- what must hold ------------------------------------------------------------------------------------------------


def check(seed: int, files: list[bytes]) -> str:
    """Load file number ``seed``; returns what came of it. Raises AssertionError when something is wrong."""
    mutation, content = mutated(seed, files)
    label = f"file {seed} ({mutation.__name__})"
    outcome = "loaded"
    with watched() as events, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attributes of tensors, perhaps
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            found: Any = flambeau.load(io.BytesIO(content))
        except OWN_ERRORS as error:
            outcome = type(error).__name__
            assert str(error).strip(), f"{label}: an error without a message"
        except BaseException as error:
            raise AssertionError(f"{label}: {type(error).__name__}: {error}") from error
        else:
            use(found)
        grown = tracemalloc.get_traced_memory()[1] - before
    assert events == [], f"{label}: {events[:5]}"
    assert grown < MEMORY + 20 * len(content), f"{label}: {grown >> 20} MB for a file of {len(content)} bytes"
    return outcome


def use(found: Any) -> None:
    """Read all tensors: one that reached outside of its memory would crash here."""
    pending, seen = [found], set()
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, flambeau.Tensor) and not item.is_meta:
            if item.numel() <= 1 << 20:
                item.detach().numpy().tobytes()
        elif isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, (list, tuple, set, frozenset)):
            pending += item


def warm_up(files: list[bytes]) -> None:
    """Have everything imported that is imported on the way: importing runs code, that of the module."""
    for content in files:
        repr(flambeau.load(io.BytesIO(content)))
    "é".encode("cp437")  # zipfile's, for names without the flag for UTF-8
    flambeau.dispatch.available()  # asked for by a location that is no known device


@pytest.fixture(scope="module")
def files() -> Iterator[list[bytes]]:
    made = originals()
    warm_up(made)
    tracemalloc.start()
    yield made
    tracemalloc.stop()


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_mutated_files(start: int, files: list[bytes]) -> None:
    for seed in range(start, start + 50):
        check(seed, files)


def test_the_originals_are_whole(files: list[bytes]) -> None:
    net, mixed, old = (flambeau.load(io.BytesIO(content)) for content in files)
    assert net["epoch"] == 3
    assert mixed["views"][1].tolist() == [[1, 7, 13, 19], [2, 8, 14, 20]]
    assert old["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_keys_nested_without_end_are_refused() -> None:
    """Their hash would take the stack of C, and the process with it."""
    for depth, message in ((999, None), (1000, "more than 1000 tuples"), (10**6, "more than 1000 tuples")):
        content = only_pickle(b"\x80\x02})" + b"\x85" * depth + b"K\x01s.")
        if message is None:
            assert len(flambeau.load(io.BytesIO(content))) == 1
            continue
        with pytest.raises(pickle.UnpicklingError, match=message):
            flambeau.load(io.BytesIO(content))


@pytest.mark.parametrize(
    "ending",
    [b"K\x01s.", b"K\x01s\x8c\x01a.", b"\x85cbuiltins\nset\nq\x020.", b"Q.", b")R.", b")\x81.", b"}b."],
    ids=repr,
)
@pytest.mark.parametrize("pair", [b"h\x00\x86", b"]h\x00ah\x00a"], ids=["tuples", "lists"])
def test_what_doubles_in_each_step_is_an_error_or_just_loaded(pair: bytes, ending: bytes) -> None:
    """Two to the 200th elements in a file of a kilobyte: nothing may walk through them."""
    begin = b"h\x00" if pair[:1] == b"h" else b""
    content = only_pickle(b"\x80\x04}N\x85" + (b"q\x00" + begin + pair) * 200 + ending)
    with contextlib.suppress(*OWN_ERRORS):
        flambeau.load(io.BytesIO(content))


def main(count: int) -> None:
    import faulthandler
    import resource

    made = originals()
    warm_up(made)
    tracemalloc.start()
    outcomes: collections.Counter[str] = collections.Counter()
    faults = 0
    for seed in range(count):
        faulthandler.dump_traceback_later(60, exit=True)  # a file that hangs
        try:
            outcomes[f"{mutated(seed, made)[0].__name__}: {check(seed, made)}"] += 1
        except AssertionError as error:
            faults += 1
            print(error)
    faulthandler.cancel_dump_traceback_later()
    for name, times in sorted(outcomes.items()):
        print(f"{times:7} {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{count} files, {faults} faults, at most {peak} MB resident")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
