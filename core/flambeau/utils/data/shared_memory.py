"""Messages between two processes whose arrays lie in memory that both can see.

A value is pickled with protocol 5; the bytes of its arrays and tensors stay out of the pickle and go, with the pickle
itself, into *segments*: anonymous memory that the sender makes and whose file descriptor it hands over once. Through
the pipe goes a note of some hundred bytes that says where everything lies, so a sender hardly ever has to wait for
the receiver.

Segments have no name, neither in ``/dev/shm`` nor anywhere else, and no resource tracker knows them: the kernel frees
them with the last process that has them mapped, however that process ends. They are used again, because pages that
are there already take a tenth of the time of fresh ones (writing and reading a batch of 38 MB: 3 ms instead of 30).
A large array is handed to the receiver where it lies, in a segment of its own that comes back when the last array
over it is gone; small ones share a segment, are copied out on arrival, and it comes back at once.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import pickle
import socket
import sys
import tempfile
import weakref
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy

from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import DTYPES
from flambeau.tensor import Tensor, wrap

#: Arrays of at least so many bytes have a segment of their own; smaller ones are cheaper to copy than to track.
LARGE = 1 << 16

# Where small arrays begin in their common segment: a cache line.
_ALIGNMENT = 64

# So many large arrays of a worker may stay in shared memory with the receiver; more are copied out. Each open segment
# takes a file descriptor, and a user may keep every batch of an epoch.
_MOST_LENT = 32


class Note(NamedTuple):
    """What goes through the pipe for a value.

    Attributes:
        header: the caller's.
        packed: the segment with the small pieces one after the other, or None.
        pieces: segment (None: ``packed``) and length of the pickle and of each array.
        created: number and size of the segments that the receiver does not know yet; their descriptors follow.
        dropped: the segments that the sender will not use again.
    """

    header: Any
    packed: int | None
    pieces: list[tuple[int | None, int]]
    created: list[tuple[int, int]]
    dropped: list[int]


# -- segments ------------------------------------------------------------------------------------------------------

if sys.platform == "win32":  # named, but Windows frees a mapping with its last handle

    def _create(size: int) -> tuple[mmap.mmap, Any]:
        name = f"flambeau-{os.getpid()}-{os.urandom(16).hex()}"
        return mmap.mmap(-1, size, tagname=name), name

    def _hand_over(connection: Connection, handle: Any) -> None:
        connection.send_bytes(handle.encode())

    def _take_over(connection: Connection, size: int) -> mmap.mmap:
        return mmap.mmap(-1, size, tagname=connection.recv_bytes().decode())

else:

    def _create(size: int) -> tuple[mmap.mmap, Any]:
        """Memory of ``size`` bytes, and what :func:`_hand_over` gives to the other process."""
        descriptor = anonymous_file(size)
        try:
            return mmap.mmap(descriptor, size), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    def anonymous_file(size: int) -> int:
        if hasattr(os, "memfd_create"):
            # Not bounded by the size of /dev/shm, of which containers have 64 MB.
            with contextlib.suppress(OSError):  # some sandboxes refuse it
                descriptor = os.memfd_create("flambeau-batch", os.MFD_CLOEXEC)
                os.ftruncate(descriptor, size)
                return descriptor
        with tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # where there is no room: an error now, not SIGBUS later
            else:
                os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())

    def _hand_over(connection: Connection, handle: Any) -> None:
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as pipe:
                socket.send_fds(pipe, [b"\0"], [handle])
        finally:
            os.close(handle)

    def _take_over(connection: Connection, size: int) -> mmap.mmap:
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        with socket.socket(fileno=os.dup(connection.fileno())) as pipe:
            content, descriptors, _, _ = socket.recv_fds(pipe, 1, 1, flags)
        if not content:
            raise EOFError
        if not descriptors:
            raise RuntimeError(
                "DataLoader: too many open files, no more memory can be shared with the workers; raise the limit "
                "(`ulimit -n`), use fewer workers, or keep fewer batches"
            )
        try:
            return mmap.mmap(descriptors[0], size)
        finally:
            os.close(descriptors[0])


# -- sending -------------------------------------------------------------------------------------------------------


class _Segment:
    """A segment on the sender's side."""

    __slots__ = ("address", "away", "handle", "memory", "number", "user")

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.memory, self.handle = _create(size)  # the handle until it has been handed over
        self.address = _address(self.memory)
        self.away = False  # the receiver has it
        self.user: weakref.ref[Any] | None = None  # the array that Sender.array() made over it last

    def is_free(self) -> bool:
        return not self.away and (self.user is None or self.user() is None)


class Sender:
    """The end that sends values; lives in a worker.

    Args:
        connection: one end of ``multiprocessing.Pipe(duplex=True)``. Only this object may send on it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._segments: dict[int, _Segment] = {}
        self._dropped: list[int] = []
        self._last_number = 0

    def array(self, shape: tuple[int, ...], dtype: numpy.dtype[Any]) -> numpy.ndarray[Any, Any]:
        """An uninitialised array in shared memory: a value that holds it is sent without a copy."""
        size = int(numpy.prod(shape)) * dtype.itemsize
        segment = self._free_segment(size)
        owner: Any = numpy.frombuffer(segment.memory, numpy.uint8)  # every view of the memory keeps this alive
        segment.user = weakref.ref(owner)
        return numpy.ndarray(shape, dtype, buffer=owner)

    def send(self, header: Any, value: Any) -> None:
        """Send a value; nothing has been sent when it raises because of the value."""
        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _Pickler(stream, 5, buffer_callback=buffers.append).dump(value)
        contents = [stream.getbuffer(), *[buffer.raw() for buffer in buffers]]
        small = [content for content in contents if content.nbytes < LARGE]
        placed: dict[int, _Segment] = {}  # by address: two arrays may look at the same memory
        packed = None
        try:
            for content in contents:
                if content.nbytes >= LARGE and _address(content) not in placed:
                    placed[_address(content)] = self._place(content)
            if small:
                packed = self._pack(small)
        except BaseException:
            for segment in placed.values():
                segment.away = False
            raise
        created = [segment for segment in self._segments.values() if segment.handle is not None]
        note = Note(
            header,
            packed.number if packed else None,
            [(placed[_address(c)].number if c.nbytes >= LARGE else None, c.nbytes) for c in contents],
            [(segment.number, len(segment.memory)) for segment in created],
            self._dropped,
        )
        self._dropped = []
        self._connection.send_bytes(pickle.dumps(tuple(note), 5))
        for segment in created:
            _hand_over(self._connection, segment.handle)
            segment.handle = None

    def release(self, numbers: list[int]) -> None:
        """Take segments back that the receiver has done with."""
        for number in numbers:
            if number in self._segments:
                self._segments[number].away = False

    def _place(self, content: memoryview) -> _Segment:
        """The segment that begins with ``content``, copied there unless it is there already."""
        address = _address(content)
        for segment in self._segments.values():
            if segment.address == address and not segment.away:
                segment.away = True
                return segment
        segment = self._free_segment(content.nbytes)
        _copy(content, segment.memory, 0)
        segment.away = True
        return segment

    def _pack(self, contents: list[memoryview]) -> _Segment:
        segment = self._free_segment(sum(_aligned(content.nbytes) for content in contents))
        offset = 0
        for content in contents:
            _copy(content, segment.memory, offset)
            offset += _aligned(content.nbytes)
        segment.away = True
        return segment

    def _free_segment(self, size: int) -> _Segment:
        free = [segment for segment in self._segments.values() if segment.is_free()]
        fitting = [segment for segment in free if len(segment.memory) >= size]
        if fitting:
            return min(fitting, key=lambda segment: len(segment.memory))
        known = [segment for segment in free if segment.handle is None]
        if known:  # too small: the number of segments does not grow where one is idle
            smallest = min(known, key=lambda segment: len(segment.memory))
            del self._segments[smallest.number]
            self._dropped.append(smallest.number)
        # Pages that are never touched take no memory, so the next power of two costs nothing and fits more.
        segment = _Segment(self._last_number + 1, 1 << max(size - 1, LARGE - 1).bit_length())
        self._last_number += 1
        self._segments[segment.number] = segment
        return segment


def _address(memory: Any) -> int:
    address: int = numpy.frombuffer(memory, numpy.uint8).__array_interface__["data"][0]
    return address


def _copy(content: memoryview, memory: mmap.mmap, offset: int) -> None:
    with memoryview(memory) as target:
        target[offset : offset + content.nbytes] = content


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class _Pickler(pickle.Pickler):
    """Leaves the bytes of tensors and of arrays, contiguous or not, out of the pickle."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor and not value.is_meta:
            return _tensor_parts(value)
        if type(value) is numpy.ndarray and not value.flags.forc and not value.dtype.hasobject:
            return value.copy(order="C").__reduce_ex__(5)
        return NotImplemented


def _tensor_parts(tensor: Tensor) -> tuple[Any, ...]:
    if not tensor.is_leaf:
        raise RuntimeError(
            "DataLoader: a worker cannot send a tensor that has a history, because gradients do not cross processes; "
            "call detach() on what the dataset or collate_fn returns"
        )
    host: Any = tensor.device.backend.to_numpy(tensor._array)  # type: ignore[union-attr]
    if not host.flags.c_contiguous:
        host = host.copy(order="C")
    return _restore_tensor, (host, tensor.dtype.name, tensor.device, tensor.requires_grad)


def _restore_tensor(host: Any, dtype_name: str, where: device, requires_grad: bool) -> Tensor:
    backend: Any = load(where).backend
    tensor = wrap(backend.from_numpy(host, where), DTYPES[dtype_name], where)
    return tensor.requires_grad_() if requires_grad else tensor


# -- receiving -----------------------------------------------------------------------------------------------------


class Receiver:
    """The end that receives values.

    Args:
        connection: the other end of the sender's pipe. Only this object may receive on it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._memory: dict[int, mmap.mmap] = {}
        self._lent: set[int] = set()
        self._returned: deque[int] = deque()  # appended to whenever the garbage collector finds an array dead

    def receive(self) -> Note:
        """The next note; the value stays in shared memory until :meth:`load` or :meth:`discard`.

        Raises:
            EOFError, ConnectionError: when the sender is gone.
        """
        note = Note._make(pickle.loads(self._connection.recv_bytes()))
        for number, size in note.created:
            self._memory[number] = _take_over(self._connection, size)
        for number in note.dropped:
            del self._memory[number]
        return note

    def load(self, note: Note) -> Any:
        """The value of a note. Its large arrays lie in shared memory, which they hold."""
        packed = self._unpacked(note)
        offset = 0
        owners: dict[int, Any] = {}
        contents: list[Any] = []
        for number, size in note.pieces:
            if number is None:
                contents.append(packed[offset : offset + size])
                offset += _aligned(size)
            else:
                if number not in owners:
                    owners[number] = self._lend(number)
                contents.append(owners[number][:size])
        return pickle.loads(contents[0], buffers=contents[1:])

    def discard(self, note: Note) -> None:
        """Give back the memory of a value that nobody wants."""
        self._returned.extend({number for number, _ in note.pieces if number is not None})
        if note.packed is not None:
            self._returned.append(note.packed)

    def returned(self) -> list[int]:
        """The segments whose values have gone since the last call: for :meth:`Sender.release`."""
        numbers = [self._returned.popleft() for _ in range(len(self._returned))]
        self._lent.difference_update(numbers)
        return numbers

    def _unpacked(self, note: Note) -> Any:
        if note.packed is None:
            return None
        size = sum(_aligned(size) for number, size in note.pieces if number is None)
        copied = numpy.frombuffer(self._memory[note.packed], numpy.uint8, size).copy()
        self._returned.append(note.packed)
        return copied

    def _lend(self, number: int) -> Any:
        owner: Any = numpy.frombuffer(self._memory[number], numpy.uint8)
        if len(self._lent) >= _MOST_LENT:
            self._returned.append(number)
            return owner.copy()
        self._lent.add(number)
        # Every array over the memory has `owner` as its base, directly or through others.
        weakref.finalize(owner, self._returned.append, number).atexit = False
        return owner
