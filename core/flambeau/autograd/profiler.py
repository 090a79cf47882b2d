"""The profiler under the name that it had first (``torch.autograd.profiler``)."""

from __future__ import annotations

from typing import Any

from flambeau import profiler
from flambeau.profiler.events import Event, EventList
from flambeau.profiler.recorder import record_function

__all__ = ["profile", "record_function"]


class profile(profiler.profile):
    """Record everything inside the block (``torch.autograd.profiler.profile``).

    Args:
        enabled: False for no effect.
        record_shapes, with_flops, profile_memory, with_stack: as of :class:`flambeau.profiler.profile`.
        use_cuda, use_device, use_kineto, use_cpu, with_modules: accepted and without effect.
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
    ) -> None:
        self.enabled = enabled
        super().__init__(
            record_shapes=record_shapes, with_flops=with_flops, profile_memory=profile_memory, with_stack=with_stack
        )

    def start(self) -> None:
        """Begin, when enabled."""
        if self.enabled:
            super().start()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **options: Any) -> str:
        """The events as text (see :meth:`flambeau.profiler.EventList.table`)."""
        return self.events().table(sort_by, row_limit, **options)

    @property
    def function_events(self) -> EventList:
        """What was recorded."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """The time of everything recorded, in microseconds."""
        return self.events().self_cpu_time_total

    def total_average(self) -> Event:
        """One event that is the sum of all."""
        return self.events().total_average()
