"""L-BFGS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.ops.call import TENSORS
from flambeau.optim.line_search import Point, strong_wolfe
from flambeau.optim.optimizer import Optimizer, scalar

if TYPE_CHECKING:
    from collections.abc import Callable


class LBFGS(Optimizer):
    """L-BFGS, a quasi-Newton method with a limited memory (Liu and Nocedal, 1989; ``torch.optim.LBFGS``).

    One step is up to ``max_iter`` iterations, each with one or more calls of the closure. There is one parameter group,
    and all parameters are on one device. The memory needed is ``2 * history_size`` times that of the parameters.

    Args:
        params: parameters; real ones.
        lr: the length of a step along the direction found, or the first that the line search tries.
        max_iter, max_eval: the most iterations and calls of the closure in a step (``max_iter * 5 // 4`` calls).
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither the parameters nor the loss change by more.
        history_size: how many changes to remember.
        line_search_fn: ``"strong_wolfe"``, or None to go ``lr`` along the direction.

    Raises:
        ValueError: for a negative learning rate and several parameter groups.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Minimize for up to ``max_iter`` iterations.

        Args:
            closure: clears the gradients, computes the loss and calls ``backward``; returns the loss.

        Returns:
            what the first call of the closure returned.
        """
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, but line_search_fn is {group['line_search_fn']!r}")
        # As in PyTorch, what is remembered belongs to the first parameter.
        state = self.state[group["params"][0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        evaluations = 1

        def evaluate() -> float:
            nonlocal evaluations
            evaluations += 1
            state["func_evals"] += 1
            with flambeau.enable_grad():
                return float(closure())

        state["func_evals"] += 1
        with flambeau.enable_grad():
            first = closure()
        with flambeau.no_grad():
            grad = self._flat_grad()
            if float(grad.abs().max()) > group["tolerance_grad"]:
                self._iterate(group, state, evaluate, float(first), grad, lambda: evaluations)
        return first

    def _iterate(
        self,
        group: dict[str, Any],
        state: dict[str, Any],
        evaluate: Callable[[], float],
        loss: float,
        grad: Tensor,
        evaluations: Callable[[], int],
    ) -> None:
        lr = scalar(group["lr"])
        tolerance_change = group["tolerance_change"]
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            begin = state["n_iter"] == 1
            direction = state["d"] = self._direction(group, state, grad)
            state["prev_flat_grad"] = grad
            previous = state["prev_loss"] = loss
            step = min(1.0, 1.0 / float(grad.abs().sum())) * lr if begin else lr
            state["t"] = step
            slope = float(grad.dot(direction))
            if slope > -tolerance_change:
                return
            last = iteration == group["max_iter"]
            largest = float(direction.abs().max())
            if group["line_search_fn"] is not None:
                found = self._search(evaluate, direction, Point(0.0, loss, grad, slope), step, largest,
                                     group["max_eval"] - evaluations())  # fmt: skip
                step, loss, grad, _ = found
                state["t"] = step
                self._move(direction, step)
            else:
                self._move(direction, step)
                if not last:
                    # Not after the last iteration: the next step begins with it.
                    loss = evaluate()
                    grad = self._flat_grad()
            if (
                last
                or evaluations() >= group["max_eval"]
                or float(grad.abs().max()) <= group["tolerance_grad"]
                or largest * abs(step) <= tolerance_change
                or abs(loss - previous) < tolerance_change
            ):
                return

    def _direction(self, group: dict[str, Any], state: dict[str, Any], grad: Tensor) -> Tensor:
        """The way to go, after the memory has taken in the last step."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        change = grad - state["prev_flat_grad"]
        moved = state["d"] * state["t"]
        curvature = change.dot(moved)
        if float(curvature) > 1e-10:
            history = state["old_dirs"], state["old_stps"], state["ro"]
            if len(state["old_dirs"]) == group["history_size"]:
                for remembered in history:
                    remembered.pop(0)
            for remembered, value in zip(history, (change, moved, 1.0 / curvature), strict=True):
                remembered.append(value)
            state["H_diag"] = curvature / change.dot(change)
        scale = state["H_diag"]
        if not isinstance(scale, Tensor):
            scale = grad.new_full((), scale)
        direction: Tensor = TENSORS.lbfgs_direction(grad, state["old_dirs"], state["old_stps"], state["ro"], scale)
        return direction

    def _search(
        self,
        evaluate: Callable[[], float],
        direction: Tensor,
        start: Point,
        step: float,
        largest: float,
        max_evaluations: int,
    ) -> Point:
        params = self.param_groups[0]["params"]
        saved = [param.clone() for param in params]

        def at(trial: float) -> Point:
            self._move(direction, trial)
            loss = evaluate()
            grad = self._flat_grad()
            for param, value in zip(params, saved, strict=True):
                param.copy_(value)
            return Point(trial, loss, grad, float(grad.dot(direction)))

        point, _ = strong_wolfe(at, start, step, largest, max_evaluations=max_evaluations)
        return point

    def _flat_grad(self) -> Tensor:
        """All gradients in one vector, a copy; of a complex one the real and imaginary parts in turn."""
        grads = [
            flambeau.zeros_like(param) if param.grad is None else param.grad for param in self.param_groups[0]["params"]
        ]
        return flambeau.cat([(flambeau.view_as_real(g) if g.is_complex() else g).reshape(-1) for g in grads])

    def _move(self, direction: Tensor, step: float) -> None:
        """Add ``step`` times the direction to the parameters."""
        start = 0
        for param in self.param_groups[0]["params"]:
            parts = 2 if param.is_complex() else 1
            end = start + parts * param.numel()
            own = direction[start:end]
            if parts == 2:
                own = flambeau.view_as_complex(own.reshape(*param.shape, 2))
            param.add_(own.reshape(param.shape), alpha=step)
            start = end
