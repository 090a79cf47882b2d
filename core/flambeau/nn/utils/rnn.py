"""Batches of sequences of different lengths: padded, and packed (``torch.nn.utils.rnn``).

A packed batch has the steps of all sequences as rows of one tensor, time by time, the longest sequence first, so that
a recurrent layer computes nothing for padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy

import flambeau
from flambeau import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """A packed batch of sequences, made by :func:`pack_padded_sequence` or :func:`pack_sequence`.

    Attributes:
        data: (total number of steps, *).
        batch_sizes: int64 on the CPU; how many sequences have a step at each time.
        sorted_indices: the sequences' places in the batch they came from, or None where they were sorted already.
        unsorted_indices: the inverse of ``sorted_indices``.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:  # the two in one argument
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "PackedSequence: batch_sizes should always be on CPU, got "
                f"{batch_sizes.device}; make it with pack_sequence or pack_padded_sequence"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return bool(self.data.device.type == "cuda")

    def pin_memory(self) -> PackedSequence:
        """Return the batch in page-locked memory."""
        pinned = [None if index is None else index.pin_memory() for index in self[2:]]
        return type(self)(self.data.pin_memory(), self.batch_sizes, *pinned)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return the batch with ``data.to(...)``, the indices on the device of the data."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = [None if index is None else index.to(data.device) for index in self[2:]]
        return type(self)(data, self.batch_sizes, *moved)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Return the batch on a CUDA device."""
        return self.to("cuda", *args, **kwargs) if not args and "device" not in kwargs else self.to(*args, **kwargs)

    def cpu(self) -> PackedSequence:
        """Return the batch on the CPU."""
        return self.to("cpu")

    def double(self) -> PackedSequence:
        """Return the batch with float64 data."""
        return self.to(dtype=flambeau.float64)

    def float(self) -> PackedSequence:
        """Return the batch with float32 data."""
        return self.to(dtype=flambeau.float32)

    def half(self) -> PackedSequence:
        """Return the batch with float16 data."""
        return self.to(dtype=flambeau.float16)

    def long(self) -> PackedSequence:
        """Return the batch with int64 data."""
        return self.to(dtype=flambeau.int64)

    def int(self) -> PackedSequence:
        """Return the batch with int32 data."""
        return self.to(dtype=flambeau.int32)

    def short(self) -> PackedSequence:
        """Return the batch with int16 data."""
        return self.to(dtype=flambeau.int16)

    def char(self) -> PackedSequence:
        """Return the batch with int8 data."""
        return self.to(dtype=flambeau.int8)

    def byte(self) -> PackedSequence:
        """Return the batch with uint8 data."""
        return self.to(dtype=flambeau.uint8)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes ``permutation``; None for None."""
    if permutation is None:
        return None
    inverse = numpy.empty(permutation.numel(), numpy.int64)
    inverse[permutation.detach().cpu().numpy()] = numpy.arange(permutation.numel())
    return flambeau.from_numpy(inverse).to(permutation.device)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: (T, B, *), or (B, T, *) with ``batch_first``.
        lengths: how many steps each sequence has, on the CPU.
        batch_first: see ``input``.
        enforce_sorted: insist on sequences in the order of decreasing length; otherwise they are sorted here, and put
            back in their order by :func:`pad_packed_sequence`.

    Raises:
        RuntimeError: for lengths that are not positive, too long, too many or too few, or not sorted.
    """
    given = lengths.tolist() if isinstance(lengths, Tensor) else [int(length) for length in lengths]
    sorted_indices = None
    counts = numpy.asarray(given, numpy.int64)
    if not enforce_sorted:
        order = numpy.argsort(-counts, kind="stable")
        counts = counts[order]
        sorted_indices = flambeau.from_numpy(order).to(input.device)
    if input.dim() < 2:
        raise RuntimeError(f"pack_padded_sequence: expected an input of 2 or more dimensions, got {input.dim()}")
    batch, steps = (0, 1) if batch_first else (1, 0)
    _check_lengths(counts, input.shape[batch], input.shape[steps])
    batch_sizes = (counts[None, :] > numpy.arange(counts[0])[:, None]).sum(1)
    # Where the rows are in the input seen as one long row of steps.
    times = numpy.repeat(numpy.arange(counts[0]), batch_sizes)
    members = numpy.concatenate([numpy.arange(size) for size in batch_sizes])
    if not enforce_sorted:
        members = order[members]
    places = members * input.shape[1] + times if batch_first else times * input.shape[1] + members
    rows = input.reshape(-1, *input.shape[2:])
    data = rows.index_select(0, flambeau.from_numpy(places).to(input.device))
    return PackedSequence(data, flambeau.from_numpy(batch_sizes.astype(numpy.int64)), sorted_indices)


def _check_lengths(counts: Any, batch: int, steps: int) -> None:
    op = "pack_padded_sequence"
    if len(counts) != batch:
        raise RuntimeError(
            f"{op}: Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} (batch_size={batch})"
        )
    if not len(counts):
        raise RuntimeError(f"{op}: Cannot pack empty tensors.")
    if counts.min() <= 0:
        raise RuntimeError(
            f"{op}: Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if (numpy.diff(counts) > 0).any():
        raise RuntimeError(
            f"{op}: `lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement."
        )
    if counts[0] > steps:
        raise RuntimeError(f"{op}: Expected lengths of at most {steps}, the input's number of steps, got {counts[0]}")


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Turn a packed batch into a padded one.

    Args:
        sequence: the packed batch.
        batch_first: give (B, T, *) instead of (T, B, *).
        padding_value: what is put after the end of a sequence.
        total_length: pad to this length instead of the longest sequence's.

    Returns:
        tuple: the padded batch, in the order of the batch that was packed, and the lengths (int64, on the CPU).

    Raises:
        ValueError: when ``total_length`` is less than the longest sequence's length.
    """
    data, batch_sizes, _, unsorted_indices = sequence
    sizes = batch_sizes.numpy()
    longest, count = len(sizes), int(sizes[0])
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    # Where in the data each step is; the padding is one more row at the end of the data.
    total = int(sizes.sum())
    places = numpy.full((steps, count), total, numpy.int64)
    present = numpy.arange(count)[None, :] < sizes[:, None]
    places[:longest][present] = numpy.arange(total)
    lengths = present.sum(0).astype(numpy.int64)
    if unsorted_indices is not None:
        order = unsorted_indices.cpu().numpy()
        places, lengths = places[:, order], lengths[order]
    if batch_first:
        places = places.T
    padding = data.new_full((1, *data.shape[1:]), padding_value)
    rows = flambeau.cat([data, padding]).index_select(0, flambeau.from_numpy(places.reshape(-1)).to(data.device))
    return rows.reshape(*places.shape, *data.shape[1:]), flambeau.from_numpy(lengths)


def pad_sequence(
    sequences: Tensor | Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Put sequences (L_i, *) together in one tensor (T, B, *), T the longest length.

    Args:
        sequences: tensors that agree in all dimensions but the first.
        batch_first: give (B, T, *) instead.
        padding_value: what is put where a sequence has no step.
        padding_side: ``"right"`` to put it after the sequence, ``"left"`` before it.
    """
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences).__name__}"
        )
    listed = list(sequences.unbind(0)) if isinstance(sequences, Tensor) else list(sequences)
    if not listed:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    steps = max(sequence.shape[0] for sequence in listed)
    padded = []
    for number, sequence in enumerate(listed):
        if sequence.shape[1:] != listed[0].shape[1:]:
            raise RuntimeError(
                f"pad_sequence: sequences must agree in all dimensions but the first, got {list(listed[0].shape)} and "
                f"{list(sequence.shape)} (number {number})"
            )
        if sequence.shape[0] < steps:
            padding = sequence.new_full((steps - sequence.shape[0], *sequence.shape[1:]), padding_value)
            sequence = flambeau.cat([sequence, padding] if padding_side == "right" else [padding, sequence])
        padded.append(sequence)
    return flambeau.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch (T, B, *), or (B, T, *) with ``batch_first``, without the padding."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [sequence[:length] for sequence, length in zip(padded_sequences.unbind(0), lengths.tolist(), strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, *); ``enforce_sorted`` as in :func:`pack_padded_sequence`."""
    lengths = [sequence.shape[0] for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in the order of the batch that was packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
