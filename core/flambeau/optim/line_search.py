"""A line search for the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, 2006, section 3.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple


class Point(NamedTuple):
    """Where a line was looked at: the step, the objective there, its gradient, and its slope along the line."""

    step: float
    value: float
    grad: Any
    slope: float


def cubic_minimum(one: Point, other: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through two points with their slopes, kept within ``bounds`` (the points' steps).

    The middle of the bounds where the cubic has no minimum.
    """
    low, high = bounds or (min(one.step, other.step), max(one.step, other.step))
    if one.step > other.step:
        one, other = other, one
    # Two trial steps may coincide; what IEEE arithmetic would make of that ends in the bounds, or in their middle.
    width = one.step - other.step
    if width == 0:
        return (low + high) / 2
    d1 = one.slope + other.slope - 3 * (one.value - other.value) / width
    square = d1 * d1 - one.slope * other.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = math.sqrt(square)
    divisor = other.slope - one.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    position = other.step - (other.step - one.step) * ((other.slope + d2 - d1) / divisor)
    return min(max(position, low), high)


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    step: float,
    largest_change: float,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_evaluations: int = 25,
) -> tuple[Point, int]:
    """Look along a line for a step with enough decrease (``c1``) and a slope that is small enough (``c2``).

    Args:
        evaluate: the objective at a step.
        start: the objective at step 0.
        step: to try first.
        largest_change: by how much a step of 1 changes a parameter at most; the search ends when steps differ by less
            than ``tolerance_change``.
        max_evaluations: how often to call ``evaluate``, besides the first time.

    Returns:
        the best point found, and how often ``evaluate`` was called.
    """

    def too_high(point: Point) -> bool:
        return point.value > start.value + c1 * point.step * start.slope

    def flat_enough(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, now = start, evaluate(step)
    evaluations = 1
    while evaluations <= max_evaluations:
        if too_high(now) or (evaluations > 2 and now.value >= before.value):
            break
        if flat_enough(now):
            return now, evaluations
        if now.slope >= 0:
            break
        bounds = now.step + 0.01 * (now.step - before.step), now.step * 10
        before, now = now, evaluate(cubic_minimum(before, now, bounds))
        evaluations += 1
    else:
        before = start

    # A good step lies between the two points: zoom in.
    low, high = (before, now) if before.value <= now.value else (now, before)
    insufficient = False
    while evaluations <= max_evaluations:
        left, right = min(low.step, high.step), max(low.step, high.step)
        if (right - left) * largest_change < tolerance_change:
            break
        trial = cubic_minimum(low, high)
        margin = 0.1 * (right - left)
        if min(right - trial, trial - left) < margin:
            # Close to an end once is accepted, the second time and at the very end it is not.
            if insufficient or trial >= right or trial <= left:
                trial = right - margin if abs(trial - right) < abs(trial - left) else left + margin
                insufficient = False
            else:
                insufficient = True
        else:
            insufficient = False
        now = evaluate(trial)
        evaluations += 1
        if too_high(now) or now.value >= low.value:
            high = now
            if high.value < low.value:
                low, high = high, low
        else:
            if flat_enough(now):
                return now, evaluations
            if now.slope * (high.step - low.step) >= 0:
                high = low
            low = now
    return low, evaluations
