"""``profile``: when to record, and what to do with what was recorded."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from flambeau.profiler.events import EventList
from flambeau.profiler.recorder import Recorder, record_function


class ProfilerActivity(Enum):
    """What PyTorch's profiler looks at. Here every device is looked at, whichever are named."""

    CPU = 0
    CUDA = 1
    XPU = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(Enum):
    """What a step of a schedule does."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The activities that can be looked at."""
    return set(ProfilerActivity)


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """A function from the number of a step to what it does: wait, warm up, record, and so on in a circle.

    Args:
        wait, warmup, active: the numbers of steps; what the last of the ``active`` ones has recorded is handed over.
        repeat: how many times; 0 for ever.
        skip_first: so many steps are left out at the beginning.
        skip_first_wait: when not 0, the first circle does not wait.

    Raises:
        ValueError: when a number is negative, or ``active`` is 0.
    """
    if min(wait, warmup, repeat, skip_first, skip_first_wait) < 0 or active <= 0:
        raise ValueError("schedule: expected wait, warmup, repeat and skip_first of 0 or more and active of 1 or more")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise ValueError(f"schedule: expected a step of 0 or more, got {step}")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        circle, place = divmod(step, wait + warmup + active)
        if (repeat and circle >= repeat) or place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        last = place == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str | os.PathLike[str], worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """For ``on_trace_ready``: write each trace into a folder, under the name that TensorBoard's plugin looks for."""

    def handle(profiler: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json{'.gz' if use_gzip else ''}"
        profiler.export_chrome_trace(os.path.join(dir_name, name))

    return handle


class profile:
    """Record ops, nodes of backward passes and ranges in all threads (``torch.profiler.profile``).

    A context manager, or ``start()`` and ``stop()``. Devices are waited for after each op, so that an op's time is its
    own: a profiled program on an asynchronous device is slower than the program.

    Args:
        activities: accepted; everything is recorded.
        schedule: a function from the number of the step to a :class:`ProfilerAction`, as :func:`schedule` makes it;
            without one everything is recorded, in one piece. :meth:`step` is what counts.
        on_trace_ready: called with this object when something is complete.
        record_shapes: take down the shapes of arguments.
        profile_memory: take down the memory of results.
        with_stack: take down where in the program ops were asked for.
        with_flops: count the operations of matrix products and convolutions.
        with_modules, experimental_config, execution_trace_observer, acc_events, use_cuda, custom_trace_id_callback:
            accepted and without effect.

    Raises:
        RuntimeError: when another profile records.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback: Any = None,
    ) -> None:
        self.activities = set(ProfilerActivity if activities is None else activities)
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self._schedule = schedule
        self._options = {
            "shapes": record_shapes, "memory": profile_memory, "stack": with_stack, "flops": with_flops,
        }  # fmt: skip
        self._recorder: Recorder | None = None
        self._recorded = EventList()
        self._step: record_function | None = None

    @property
    def current_action(self) -> ProfilerAction:
        """What the current step does."""
        return ProfilerAction.RECORD_AND_SAVE if self._schedule is None else self._schedule(self.step_num)

    def start(self) -> None:
        """Begin with step 0."""
        self._enter_step()

    def stop(self) -> None:
        """End, and hand over what was recorded."""
        self._leave_step()
        self._finish()

    def step(self) -> None:
        """Say that a step of the program has ended and the next one begins."""
        action = self.current_action
        self._leave_step()
        if self._schedule is not None and action is ProfilerAction.RECORD_AND_SAVE:
            self._finish()
        self.step_num += 1
        self._enter_step()

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def _enter_step(self) -> None:
        if self.current_action in (ProfilerAction.NONE, ProfilerAction.WARMUP):
            return
        if self._recorder is None:
            recorder = Recorder(**self._options)
            recorder.start()
            self._recorder = recorder
        if self._schedule is not None:
            self._step = record_function(f"ProfilerStep#{self.step_num}").__enter__()

    def _leave_step(self) -> None:
        if self._step is not None:
            self._step.__exit__()
            self._step = None

    def _finish(self) -> None:
        if self._recorder is None:
            return
        self._recorder.stop()
        self._recorded = EventList(self._recorder.events)
        self._recorder = None
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    # -- what was recorded -------------------------------------------------------------------------------------------

    def events(self) -> EventList:
        """What was recorded last, in the order in which it ended."""
        return self._recorded

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """What was recorded last, summed by name (see :meth:`EventList.key_averages`)."""
        return self._recorded.key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace (see :meth:`EventList.export_chrome_trace`)."""
        self._recorded.export_chrome_trace(path)

    def export_stacks(self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total") -> None:
        """Write times by stack (see :meth:`EventList.export_stacks`)."""
        self._recorded.export_stacks(path, metric)
