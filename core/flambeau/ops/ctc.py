"""Connectionist temporal classification (Graves et al., 2006), in logarithms.

A target of S labels becomes a chain of ``2 S + 1`` states: blanks around and between the labels. A path through the
chain begins in one of the first two states and ends in one of the last two; each step it stays, goes to the next
state, or skips a blank between two different labels. The loss is minus the logarithm of the probability of all paths.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
Xp = Any

# The logarithm of a probability of 0. Finite, so that differences of two are 0 and not NaN; sums of as many as a
# sequence has steps still fit into float32.
_NEVER = -1e30


@composite(public=())
def ctc_nll(
    xp: Xp, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int = 0
) -> Tensor:
    """Return minus the logarithm of each target's probability.

    The gradient is that of this function. PyTorch's adds ``exp(log_probs)``, which makes no difference behind a
    log-softmax, whose gradient takes it out again.

    Args:
        log_probs: (T, N, C), float32 or float64.
        targets: (N, S), int64; what is beyond a target's length is ignored.
        input_lengths, target_lengths: (N,), int64.
        blank: the class that stands for no label.

    Returns:
        (N,); infinity where there is no path, because the input is too short.
    """
    labels = _states(xp, targets, target_lengths, blank)
    last = _column(xp, xp.mul(target_lengths, 2))
    alpha = _forward(xp, _emissions(xp, log_probs, labels), labels, input_lengths, blank)[-1]
    places = xp.new_arange(labels, 0, labels.shape[1])
    ends = xp.logical_or(xp.eq(places, last), xp.eq(places, xp.sub(last, 1)))
    alpha = xp.where(ends, alpha, _NEVER)
    largest = xp.amax(alpha, (1,), True)
    total = xp.add(xp.log(xp.sum(xp.exp(xp.sub(alpha, largest)), (1,), True)), largest)
    total = xp.reshape(total, (labels.shape[0],))
    total = xp.where(xp.lt(total, _NEVER / 2), -math.inf, total)
    # Without a step there is only the empty path.
    empty = xp.where(xp.eq(target_lengths, 0), xp.new_full(total, total.shape, 0.0), -math.inf)
    return xp.neg(xp.where(xp.eq(input_lengths, 0), empty, total))


def _column(xp: Xp, x: Any) -> Any:
    return xp.reshape(x, (x.shape[0], 1))


def _states(xp: Xp, targets: Any, target_lengths: Any, blank: int) -> Any:
    """The label of each state, (N, 2 S + 1); blanks beyond the length of a target."""
    batch, most = targets.shape
    given = xp.lt(xp.new_arange(targets, 0, most), _column(xp, target_lengths))
    targets = xp.where(given, targets, blank)
    blanks = xp.new_full(targets, (batch, most), blank)
    pairs = xp.reshape(xp.stack([blanks, targets], 2), (batch, 2 * most))
    return xp.cat([pairs, xp.new_full(targets, (batch, 1), blank)], 1)


def _emissions(xp: Xp, log_probs: Any, labels: Any) -> Any:
    """The log-probability of each state's label at each time, (T, N, 2 S + 1)."""
    index = xp.expand(labels, (log_probs.shape[0], *labels.shape))
    return xp.clamp(xp.gather(log_probs, 2, index), _NEVER, None)


def _forward(xp: Xp, emissions: Any, labels: Any, lengths: Any, blank: int) -> list[Any]:
    """For each time the log-probabilities of all paths so far, by state, (N, 2 S + 1); frozen after the last step."""
    steps, batch, states = emissions.shape

    def never(count: int) -> Any:
        return xp.new_full(emissions, (batch, count), _NEVER)

    def moved(x: Any, by: int, filling: Any) -> Any:
        return xp.cat([filling, xp.slice(x, 1, 0, states - by, 1)], 1)

    def emission(time: int) -> Any:
        return xp.reshape(xp.slice(emissions, 0, time, time + 1, 1), (batch, states))

    skips = None
    if states > 2:
        before = moved(labels, 2, xp.new_full(labels, (batch, 2), blank))
        skips = xp.logical_and(xp.ne(labels, blank), xp.ne(labels, before))
    first = min(states, 2)
    alpha = xp.slice(emission(0), 1, 0, first, 1)
    if states > first:
        alpha = xp.cat([alpha, never(states - first)], 1)
    alphas = [alpha]
    for time in range(1, steps):
        ways = [alpha]
        if states > 1:
            ways.append(moved(alpha, 1, never(1)))
        if skips is not None:
            ways.append(xp.where(skips, moved(alpha, 2, never(2)), _NEVER))
        largest = ways[0]
        for way in ways[1:]:
            largest = xp.maximum(largest, way)
        total = xp.exp(xp.sub(ways[0], largest))
        for way in ways[1:]:
            total = xp.add(total, xp.exp(xp.sub(way, largest)))
        following = xp.add(xp.add(largest, xp.log(total)), emission(time))
        alpha = xp.where(_column(xp, xp.gt(lengths, time)), following, alpha)
        alphas.append(alpha)
    return alphas


@ctc_nll.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    result: Any,
) -> tuple[Any, ...]:
    labels = _states(xp, targets, target_lengths, blank)
    emissions = _emissions(xp, log_probs, labels)
    steps, batch, states = emissions.shape
    # The paths from the other end are the paths of the reversed problem: both are computed in one loop.
    time_index = _mirrored(xp, input_lengths, steps)
    time_index = xp.expand(xp.reshape(xp.permute(time_index, (1, 0)), (steps, batch, 1)), (steps, batch, states))
    state_index = _mirrored(xp, xp.add(xp.mul(target_lengths, 2), 1), states)
    state_indices = xp.expand(state_index, (steps, batch, states))

    def mirrored(x: Any) -> Any:
        return xp.gather(xp.gather(x, 0, time_index), 2, state_indices)

    both = _forward(
        xp,
        xp.cat([emissions, mirrored(emissions)], 1),
        xp.cat([labels, xp.gather(labels, 1, state_index)], 0),
        xp.cat([input_lengths, input_lengths], 0),
        blank,
    )
    paths = xp.stack(both, 0)
    from_start = xp.slice(paths, 1, 0, batch, 1)
    to_end = mirrored(xp.slice(paths, 1, batch, 2 * batch, 1))
    nll = xp.reshape(result, (1, batch, 1))
    # How likely the state is at the time, given the target.
    posterior = xp.exp(xp.add(xp.sub(xp.add(from_start, to_end), emissions), nll))
    posterior = xp.where(xp.isinf(nll), math.nan, posterior)  # no path, no gradient
    times = xp.reshape(xp.new_arange(labels, 0, steps), (steps, 1, 1))
    in_time = xp.lt(times, xp.reshape(input_lengths, (1, batch, 1)))
    places = xp.new_arange(labels, 0, states)
    in_target = xp.le(places, _column(xp, xp.mul(target_lengths, 2)))
    posterior = xp.where(xp.logical_and(in_time, in_target), posterior, 0)
    g = xp.reshape(g, (1, batch, 1))
    # Where nothing was computed from a loss, infinite or not, its gradient is 0.
    of_emissions = xp.where(xp.eq(g, 0), 0, xp.neg(xp.mul(posterior, g)))
    index = xp.expand(labels, (steps, batch, states))
    zeros = xp.new_full(log_probs, log_probs.shape, 0)
    return xp.scatter_add(zeros, 2, index, of_emissions), None, None, None


def _mirrored(xp: Xp, lengths: Any, count: int) -> Any:
    """Indices (N, count) that reverse the first ``lengths[n]`` places and leave the others."""
    places = xp.expand(xp.new_arange(lengths, 0, count), (lengths.shape[0], count))
    mirrored = xp.sub(xp.sub(_column(xp, lengths), 1), places)
    return xp.where(xp.lt(mirrored, 0), places, mirrored)
