"""The backward pass.

Nodes are numbered as they are recorded, so the newest waiting node is always next: a heap, no recursion, no count of
dependencies. A leaf with hooks waits in the same heap, right behind the oldest node that leads to it, so that its hooks
run as soon as its gradient is complete; the other leaves get theirs at the end. Formulas run over the raw kernels of
the device on which the operation ran; with ``create_graph`` over tensors, and are recorded in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from importlib import import_module
from typing import Any

from flambeau.autograd.grad_mode import switch
from flambeau.autograd.node import Leaf, Node, Slot, anomaly, watched_leaves
from flambeau.autograd.plain import run_plain
from flambeau.autograd.saved import as_tensors, modified, restored, tell_forward
from flambeau.autograd.walk import leading_to, oldest_uses
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor, refresh, wrap


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Accumulate the gradients of ``tensors`` into the leaves' ``.grad`` (``torch.autograd.backward``).

    Args:
        tensors: what to differentiate.
        grad_tensors: their cotangents; None stands for 1 where a tensor has one element.
        retain_graph: keep what was saved for another pass; as ``create_graph`` by default.
        create_graph: record the pass, so that the gradients can be differentiated.
        inputs: accumulate into these only.

    Raises:
        RuntimeError: when a tensor does not require a gradient, when something saved has been changed in place or was
            already released, when a cotangent has the wrong shape.
    """
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    cotangents = _cotangents("backward", roots, grad_tensors)
    targets = None
    if inputs is not None:
        wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if not wanted:
            raise RuntimeError("backward: 'inputs' argument cannot be empty")
        targets = {_target("backward", tensor): tensor for tensor in wanted}
    keep = create_graph if retain_graph is None else retain_graph
    found = _run(roots, cotangents, keep, create_graph, targets, create_graph, accumulates=True)
    for target in list(found):
        gradient = found.pop(target)
        tensor = target.tensor() if type(target) is Leaf else targets[target] if targets else None
        if tensor is not None:
            _accumulate(tensor, target, gradient, create_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs`` (``torch.autograd.grad``); no ``.grad`` is touched.

    Args:
        outputs, inputs: tensors, one or several.
        grad_outputs: cotangents of the outputs; None stands for 1 where an output has one element.
        retain_graph, create_graph: as in :func:`backward`.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: ``grad_outputs`` have a leading dimension, and so have the results: one pass for all of its
            entries, by :func:`flambeau.func.vmap`.
        materialize_grads: give zeros in place of None.

    Returns:
        One gradient an input, of the input's shape and dtype.
    """
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if is_grads_batched:
        return _batched(roots, wanted, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads)
    cotangents = _cotangents("grad", roots, grad_outputs)
    targets = {_target("grad", tensor): tensor for tensor in wanted}
    # Cotangents from another device are those of `vmap` over a function recorded outside: tensors find together.
    tensors = create_graph or any(c._device is not r._device for c, r in zip(cotangents, roots, strict=True))
    found = _run(roots, cotangents, create_graph if retain_graph is None else retain_graph, tensors, targets,
                 create_graph)  # fmt: skip
    results: list[Tensor | None] = []
    for tensor in wanted:
        gradient = found.get(tensor._node)
        if gradient is not None and not tensors:
            where = tensor._device
            if where.backend.dtype_of(gradient) is not tensor._dtype:  # type: ignore[union-attr]
                gradient = where.xp.to_dtype(gradient, tensor._dtype)
            gradient = wrap(gradient, tensor._dtype, where)
        if gradient is None and materialize_grads:
            gradient = TENSORS.full_like(tensor.detach(), 0)
        if gradient is None and not allow_unused:
            raise RuntimeError(
                "grad: One of the differentiated Tensors appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        results.append(gradient)
    return tuple(results)


def _batched(
    roots: list[Tensor],
    wanted: list[Tensor],
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Tensor | None, ...]:
    vmap = import_module("flambeau.func").vmap  # which is made of what is here
    reached: list[int] = []

    def one(*cotangents: Tensor) -> list[Tensor]:
        found = grad(roots, wanted, cotangents, retain_graph, create_graph, allow_unused, False, materialize_grads)
        reached[:] = [i for i, gradient in enumerate(found) if gradient is not None]
        return [gradient for gradient in found if gradient is not None]

    stacked = vmap(one)(*([grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs))
    results: list[Tensor | None] = [None] * len(wanted)
    for i, gradient in zip(reached, stacked, strict=True):
        results[i] = gradient
    return tuple(results)


def _target(op: str, tensor: Tensor) -> Any:
    if tensor._view is not None:
        refresh(tensor)
    if tensor._node is None:
        raise RuntimeError(f"{op}: One of the differentiated Tensors does not require grad")
    return tensor._node


def _cotangents(op: str, roots: list[Tensor], given: Any) -> list[Tensor]:
    gradients = [given] * len(roots) if given is None else [given] if isinstance(given, Tensor) else list(given)
    if len(gradients) != len(roots):
        raise RuntimeError(f"{op}: got {len(roots)} tensors and {len(gradients)} gradients")
    checked = []
    for i, (root, gradient) in enumerate(zip(roots, gradients, strict=True)):
        if root._view is not None:
            refresh(root)
        if root._node is None:
            raise RuntimeError(f"{op}: element {i} of tensors does not require grad and does not have a grad_fn")
        shape = root._array.shape
        if gradient is None:
            if root.numel() != 1:
                raise RuntimeError(
                    f"{op}: grad can be implicitly created only for scalar outputs; this one has the shape "
                    f"{list(shape)}, so pass a gradient of that shape"
                )
            if root._dtype.is_complex:
                raise RuntimeError(f"{op}: grad can be implicitly created only for real scalar outputs but got "
                                   f"{root._dtype.name}")  # fmt: skip
            gradient = wrap(root._device.xp.full(shape, 1.0, root._dtype, root._device), root._dtype, root._device)
        elif gradient._array.shape != shape:
            raise RuntimeError(
                f"{op}: Mismatch in shape: grad_output[{i}] has a shape of {list(gradient._array.shape)} and "
                f"output[{i}] "
                f"has a shape of {list(shape)}."
            )
        elif gradient._dtype is not root._dtype:
            gradient = gradient.to(root._dtype)
        checked.append(gradient)
    return checked


# -- the pass --------------------------------------------------------------------------------------------------------


def _run(
    roots: list[Tensor],
    cotangents: list[Tensor],
    retain_graph: bool,
    tensors: bool,
    targets: dict[Any, Tensor] | None,
    create_graph: bool,
    accumulates: bool = False,
) -> dict[Any, Any]:
    """Run the pass and return the gradients by leaf (or by target, where targets are given).

    Gradients are raw arrays, or ``tensors``, which ``create_graph`` records. With ``accumulates``, leaves with hooks
    have theirs in ``.grad`` already and are left out.
    """
    before = switch(bool(create_graph))
    try:
        return _Pass(retain_graph, tensors, targets, roots, accumulates).run(roots, cotangents)
    finally:
        switch(before)


class _Pass:
    """One backward pass: what waits to be run, and what has arrived at the leaves."""

    def __init__(
        self,
        retain_graph: bool,
        create_graph: bool,
        targets: dict[Any, Tensor] | None,
        roots: list[Tensor],
        accumulates: bool,
    ) -> None:
        self.accumulates = accumulates
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.heap: list[tuple[float, Node]] = []
        # What has arrived at each node so far; for a node with several outputs a list, one entry an output.
        self.waiting: dict[Any, Any] = {}
        self.leaves: dict[Leaf, Any] = {}
        # Arrays that are sums made here: nobody else holds them, so the next arrival is added in place.
        self.owned: set[Any] = set()
        self.targets = targets
        self.found: dict[Any, Any] = {}
        self.useful = None if targets is None else leading_to(targets, roots)

    def run(self, roots: list[Tensor], cotangents: list[Tensor]) -> dict[Any, Any]:
        for root, cotangent in zip(roots, cotangents, strict=True):
            self._deposit(root._node, cotangent if self.create_graph else cotangent._array, root._device)
        if watched_leaves:
            self._await_leaves(roots)
        heap, waiting, targets = self.heap, self.waiting, self.targets
        watched = _Pass._run_node is not _run_node
        plain = not (self.create_graph or watched or anomaly.enabled)
        while heap:
            if plain:
                run_plain(self)
                if not heap:
                    break
            node: Any = heappop(heap)[1]
            g = waiting.pop(node)
            self.owned.discard(node)
            if node.extra is not None:
                if type(node) is _Complete:
                    self._hand_over(g)
                    continue
                g = self._before_node(node, g)
            if targets is not None:
                if node in targets:
                    self.found[node] = g
                if node not in self.useful:  # type: ignore[operator]
                    continue
            self._run_node(node, g)
        for leaf, g in self.leaves.items():
            if leaf.extra is not None:
                g = self._hooked(leaf.extra.hooks, g, leaf.variable)
            if targets is None or leaf in targets:
                self.found[leaf] = g
        return self.found

    def _await_leaves(self, roots: list[Tensor]) -> None:
        """Put each leaf with hooks into the heap behind the oldest node that leads to it."""
        by_oldest: dict[int, list[Leaf]] = {}
        uses = oldest_uses(roots)
        for leaf in sorted(uses, key=uses.__getitem__):
            by_oldest.setdefault(uses[leaf][0], []).append(leaf)
        for oldest, leaves in by_oldest.items():
            mark: Any = _Complete()
            self.waiting[mark] = leaves
            heappush(self.heap, (0.5 - oldest, mark))

    def _hand_over(self, leaves: list[Leaf]) -> None:
        """The gradients of these leaves are complete."""
        arrived = self.leaves
        for leaf in leaves:
            if leaf not in arrived or leaf.extra is None:
                continue
            tensor = leaf.variable
            g = self._hooked(leaf.extra.hooks, arrived.pop(leaf), tensor)
            if self.targets is None or leaf in self.targets:
                if not self.accumulates:
                    self.found[leaf] = g
                elif tensor is not None:
                    _accumulate(tensor, leaf, g, self.create_graph)

    def _run_node(self, node: Node, g: Any) -> None:
        """Run a node of any kind; :func:`run_plain` has the most common ones."""
        saved = node.saved
        if type(saved) is not tuple:
            saved = restored(node)
        checks = node.checks or ()
        for i in range(0, len(checks), 2):
            if checks[i][0] != checks[i + 1]:
                raise modified(node, checks[i], checks[i + 1])
        if self.create_graph:
            xp: Any = TENSORS
            saved = tuple(as_tensors(node, saved))
        else:
            xp = node.device.xp
        plan = node.plan
        parents = node.parents
        try:
            if plan.joint is not None:
                gradients = list(plan.joint(xp, g, plan.needs, *plan.take(saved)))
            else:
                gradients = [None] * len(plan.needs)
                for place, formula, take, _ in plan.calls:
                    if plan.op.has_sequence or self._is_useful(parents[place]):
                        gradients[place] = formula(xp, g, *take(saved))
        except Exception as error:
            tell_forward(node, error)
            raise
        flat: list[Any] = []
        for gradient, position in zip(gradients, plan.op.tensor_positions, strict=True):
            if plan.op.parameters[position].is_sequence:
                own = len(parents) - len(plan.op.tensor_positions) + 1
                flat += [None] * own if gradient is None else list(gradient)
            else:
                flat.append(gradient)
        if anomaly.enabled and anomaly.check_nan:
            _check_nan(node, xp, flat)
        if node.extra is not None and node.extra.post_hooks:
            flat = self._post_hooked(node, flat, g)
        for place, (parent, gradient) in enumerate(zip(parents, flat, strict=True)):
            if parent is None or gradient is None or not self._is_useful(parent):
                continue
            if node.shapes is not None and gradient.shape != node.shapes[place]:
                gradient = xp.sum_to_size(gradient, node.shapes[place])
            self._deposit(parent, gradient, node.device)
        if not self.retain_graph:
            node.saved = None

    def _is_useful(self, parent: Any) -> bool:
        """Whether the pass wants to know what arrives at ``parent``."""
        return self.useful is None or parent in self.useful or parent in self.targets  # type: ignore[operator]

    def _deposit(self, parent: Any, g: Any, where: Any) -> None:
        """Add a cotangent to what has arrived at ``parent``."""
        kind = type(parent)
        if kind is Leaf:
            arrived = self.leaves.get(parent)
            self.leaves[parent] = g if arrived is None else self._sum(parent, arrived, g, where)
        elif kind is Slot:
            node = parent.node
            buffer = self.waiting.get(node)
            if buffer is None:
                buffer = self.waiting[node] = [None] * node.outputs
                heappush(self.heap, (-node.seq, node))
            arrived = buffer[parent.index]
            buffer[parent.index] = g if arrived is None else self._sum((node, parent.index), arrived, g, where)
        elif parent is not None:
            arrived = self.waiting.get(parent)
            if arrived is None:
                self.waiting[parent] = g
                heappush(self.heap, (-parent.seq, parent))
            else:
                self.waiting[parent] = self._sum(parent, arrived, g, where)

    def _sum(self, key: Any, arrived: Any, g: Any, where: Any) -> Any:
        if self.create_graph:
            return TENSORS.add(arrived, g)
        xp = where.xp
        if key in self.owned and xp.backend.sums_in_place:
            return xp.add_(arrived, g)
        self.owned.add(key)
        added = xp.add(arrived, g)
        return added if type(added) is xp.backend.array_type else xp.backend.as_array(added)

    # -- hooks ---------------------------------------------------------------------------------------------------------

    def _before_node(self, node: Node, g: Any) -> Any:
        """Run the hooks on a node's cotangent (tensor hooks, prehooks), keep it where ``retain_grad`` asked for it."""
        extra: Any = node.extra
        if isinstance(g, list):
            if extra.slots:
                for index, slot in extra.slots.items():
                    if g[index] is not None and slot.extra is not None:
                        g[index] = self._hooked_and_retained(slot.extra, g[index], node.device)
                        if self.targets is not None and slot in self.targets:
                            self.found[slot] = g[index]
        else:
            g = self._hooked_and_retained(extra, g, node.device)
        for hook in list(extra.pre_hooks.values()):
            outcome = hook(tuple(self._tensors(node, g if isinstance(g, list) else [g])))
            if outcome is not None:
                replaced = [t if self.create_graph or t is None else t._array for t in outcome]
                g = replaced if isinstance(g, list) else replaced[0]
        return g

    def _hooked_and_retained(self, extra: Any, g: Any, where: Any) -> Any:
        g = self._hooked(extra.hooks, g, None, where)
        tensor = extra.retained() if extra.retained is not None else None
        if tensor is not None:
            kept = g if self.create_graph else wrap(where.xp.clone(g), tensor._dtype, where)
            tensor._grad = kept if tensor._grad is None else TENSORS.add(tensor._grad, kept)
        return g

    def _hooked(self, hooks: dict[int, Any], g: Any, leaf: Tensor | None, where: Any = None) -> Any:
        if not hooks:
            return g
        where = leaf._device if leaf is not None else where
        if where is None:
            return g
        for hook in list(hooks.values()):
            given = g if self.create_graph else wrap(g, where.backend.dtype_of(g), where)
            outcome = hook(given)
            if outcome is not None:
                if not isinstance(outcome, Tensor):
                    raise TypeError(f"a gradient hook must return None or a Tensor, not {type(outcome).__name__}")
                if outcome._array.shape != g.shape:
                    raise RuntimeError(
                        f"a gradient hook has changed the shape of the gradient from {list(g.shape)} to "
                        f"{list(outcome._array.shape)}"
                    )
                g = outcome if self.create_graph else outcome._array
        return g

    def _tensors(self, node: Node, arrays: Sequence[Any]) -> list[Tensor | None]:
        if self.create_graph:
            return list(arrays)
        where = node.device
        return [None if a is None else wrap(a, where.backend.dtype_of(a), where) for a in arrays]  # type: ignore[union-attr]

    def _post_hooked(self, node: Node, flat: list[Any], g: Any) -> list[Any]:
        for hook in list(node.extra.post_hooks.values()):  # type: ignore[union-attr]
            outcome = hook(
                tuple(self._tensors(node, flat)), tuple(self._tensors(node, g if isinstance(g, list) else [g]))
            )
            if outcome is not None:
                outcome = [outcome] if isinstance(outcome, Tensor) else outcome
                flat = [t if self.create_graph or t is None else t._array for t in outcome]
        return flat


class _Complete:
    """Takes a node's place in the heap where the gradients of some leaves are complete."""

    extra = True


def _check_nan(node: Node, xp: Any, gradients: Sequence[Any]) -> None:
    for i, gradient in enumerate(gradients):
        if gradient is None:
            continue
        bad = xp.any(xp.ne(gradient, gradient), tuple(range(len(gradient.shape))), False)
        if bool(bad.item() if isinstance(bad, Tensor) else node.device.backend.to_numpy(bad)):  # type: ignore[union-attr]
            error = RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
            tell_forward(node, error)
            raise error


_run_node = _Pass._run_node


def watch_nodes(around: Callable[[Node, Callable[[], None]], None] | None) -> None:
    """Have ``around(node, run)`` run each node of backward passes, for profilers; None ends that.

    The method itself is replaced, so that a pass that nobody watches has nothing to ask.
    """

    def watched(self: _Pass, node: Node, g: Any) -> None:
        around(node, lambda: _run_node(self, node, g))  # type: ignore[misc]

    _Pass._run_node = _run_node if around is None else watched  # type: ignore[method-assign]


# -- leaves ----------------------------------------------------------------------------------------------------------


def _accumulate(tensor: Tensor, target: Any, gradient: Any, create_graph: bool) -> None:
    """Add a gradient to ``tensor.grad``."""
    held = tensor._grad
    if create_graph:
        tensor._grad = gradient if held is None else TENSORS.add(held, gradient)
    else:
        where = tensor._device
        if where.backend.dtype_of(gradient) is not tensor._dtype:  # type: ignore[union-attr]
            gradient = where.xp.to_dtype(gradient, tensor._dtype)
        if held is None:
            # A gradient may be seen through other names: `add` hands the same array to both operands. It is taken over
            # when nothing but the caller's variable and this frame knows it, else copied.
            if where.backend.is_shared(gradient) or sys.getrefcount(gradient) > _OWN_REFERENCES:  # type: ignore[union-attr]
                gradient = where.xp.clone(gradient)
            tensor._grad = wrap(gradient, tensor._dtype, where)
        elif held._node is None:
            where.xp.add_(held._array, gradient)
            held._bump_version()
        else:
            tensor._grad = TENSORS.add(held.detach(), wrap(gradient, tensor._dtype, where))
    if target.extra is not None and type(target) is Leaf:
        for hook in list(target.extra.post_hooks.values()):
            hook(tensor)


def _references(gradient: Any) -> int:
    return sys.getrefcount(gradient)


def _of_nobody_else() -> int:
    """How many references :func:`_accumulate` sees to a gradient that is its caller's alone, in this Python."""
    found = {0: object()}
    gradient = found.pop(0)
    return _references(gradient)


_OWN_REFERENCES = _of_nobody_else()
