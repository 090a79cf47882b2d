"""Where the time and the memory of a program go (``torch.profiler``): by op, forward and backward.

    with profile(profile_memory=True, record_shapes=True) as profiler:
        with record_function("step"):
            model(x).sum().backward()
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
    profiler.export_chrome_trace("trace.json")

Kernels are wrapped while a profile records, and only then: a program that is not profiled pays nothing.
"""

from flambeau.profiler.events import Event, EventList
from flambeau.profiler.profiles import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)
from flambeau.profiler.recorder import record_function

__all__ = [
    "Event",
    "EventList",
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
