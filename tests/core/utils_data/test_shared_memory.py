"""Messages whose arrays lie in shared memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau.utils.data import shared_memory
from flambeau.utils.data.shared_memory import LARGE, Receiver, Sender

pytestmark = pytest.mark.usefixtures("no_leftovers")


class Pair:
    """Both ends in one process."""

    def __init__(self) -> None:
        self.ends = multiprocessing.Pipe(duplex=True)
        self.sender, self.receiver = Sender(self.ends[0]), Receiver(self.ends[1])

    def sent(self, value: Any) -> Any:
        self.sender.send("header", value)
        note = self.receiver.receive()
        assert note.header == "header"
        return self.receiver.load(note)

    def give_back(self) -> list[int]:
        numbers = self.receiver.returned()
        self.sender.release(numbers)
        return numbers

    def close(self) -> None:
        for end in self.ends:
            end.close()
        del self.sender, self.receiver  # pytest keeps the fixture's value


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def large(value: float) -> Any:
    return numpy.full(LARGE // 8, value)


def test_bytes_of_arrays_do_not_go_through_the_pipe(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    send_bytes = pair.ends[0].send_bytes
    monkeypatch.setattr(pair.ends[0], "send_bytes", lambda data: (lengths.append(len(data)), send_bytes(data)))
    value = {"x": flambeau.ones(1000, 1000), "y": numpy.arange(5000), "text": "a" * 10**6}
    found = pair.sent(value)
    assert lengths and max(lengths) < 500
    assert found["x"].tolist() == value["x"].tolist()
    assert found["y"].tolist() == list(range(5000))
    assert found["text"] == value["text"]


def test_memory_comes_back_with_the_last_array_over_it(pair: Pair) -> None:
    found = pair.sent([large(1), large(2)])
    pair.give_back()  # what was small
    view = found[0][10:20]
    number_of_second = pair.receiver._lent.copy()
    del found
    returned = pair.give_back()
    assert len(returned) == 1
    assert number_of_second > set(returned)
    segments = len(pair.sender._segments)
    second = pair.sent(large(3))
    assert len(pair.sender._segments) == segments  # used again
    assert view.tolist() == [1] * 10
    assert second[0] == 3
    del view
    assert len(pair.give_back()) == 2  # the view's, and the pickle of the second message


def test_an_array_made_in_shared_memory_is_not_copied(pair: Pair) -> None:
    array = pair.sender.array((LARGE,), numpy.dtype("uint8"))
    array[:] = 5
    found = pair.sent(array)
    array[0] = 6  # the two look at the same memory
    assert found[0] == 6
    assert found[1] == 5


def test_an_array_made_and_not_sent_is_used_again_when_it_is_gone(pair: Pair) -> None:
    array = pair.sender.array((LARGE,), numpy.dtype("uint8"))
    other = pair.sender.array((LARGE,), numpy.dtype("uint8"))
    assert array.ctypes.data != other.ctypes.data
    address = array.ctypes.data
    del array
    assert pair.sender.array((LARGE,), numpy.dtype("uint8")).ctypes.data == address
    pair.sender.array((2 * LARGE,), numpy.dtype("uint8"))
    assert pair.sent(other).shape == (LARGE,)
    assert set(pair.receiver._memory) == set(pair.sender._segments)


def test_memory_that_the_sender_still_uses_is_not_given_out(pair: Pair) -> None:
    array = pair.sender.array((LARGE,), numpy.dtype("uint8"))
    array[:] = 1
    found = pair.sent(array)
    del found
    pair.give_back()
    pair.sent(numpy.full(LARGE, 2, numpy.uint8))
    assert array[0] == 1


def test_too_small_a_segment_makes_room_for_a_larger_one(pair: Pair) -> None:
    for power in range(6):
        found = pair.sent(numpy.full(LARGE << power, power, numpy.uint8))
        assert found[-1] == power
        del found
        pair.give_back()
        assert len(pair.sender._segments) <= 2
        assert set(pair.receiver._memory) >= set(pair.sender._segments)
    pair.sent(1)
    assert set(pair.receiver._memory) == set(pair.sender._segments)


def test_so_many_arrays_are_lent_and_the_rest_copied(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_MOST_LENT", 3)
    kept = []
    for value in range(10):
        kept.append(pair.sent(large(value)))
        pair.give_back()
    assert [array[-1] for array in kept] == list(range(10))
    assert len(pair.sender._segments) <= 3 + 2


def test_an_error_while_pickling_sends_nothing_and_loses_no_memory(pair: Pair) -> None:
    for _ in range(5):
        with pytest.raises(Exception, match="local object"):
            pair.sender.send("header", [large(1), lambda: 1])
    assert not pair.ends[1].poll()
    assert pair.sent(large(2))[0] == 2
    assert all(segment.number for segment in pair.sender._segments.values())


def test_no_room_is_an_error_that_leaves_the_sender_usable(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.sent(large(0))
    pair.give_back()
    create = shared_memory._create

    def full(size: int) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_memory, "_create", full)
    with pytest.raises(OSError, match="No space left"):
        pair.sender.send("header", [large(1) for _ in range(4)])
    monkeypatch.setattr(shared_memory, "_create", create)
    assert all(segment.is_free() for segment in pair.sender._segments.values())
    assert [array[0] for array in pair.sent([large(i) for i in range(4)])] == [0, 1, 2, 3]


def test_discarding_gives_everything_back(pair: Pair) -> None:
    pair.sender.send("header", [large(1), 2])
    pair.receiver.discard(pair.receiver.receive())
    assert sorted(pair.give_back()) == sorted(pair.sender._segments)
    assert all(segment.is_free() for segment in pair.sender._segments.values())


def test_files_take_the_place_of_memfd_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    pair = Pair()
    assert pair.sent(flambeau.ones(300, 300)).sum().item() == 90000
    pair.close()


def test_the_end_of_the_sender_is_an_eof(pair: Pair) -> None:
    pair.ends[0].close()
    with pytest.raises(EOFError):
        pair.receiver.receive()
