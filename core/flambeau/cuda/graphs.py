"""Graphs: work for a CUDA device, noted once and given to it again at the price of one call (``torch.cuda.graphs``).

    static = flambeau.zeros(64, 784, device="cuda")
    ...                                    # a few steps first, on a side stream, so that everything is compiled
    captured = flambeau.cuda.CUDAGraph()
    with flambeau.cuda.graph(captured):
        output = model(static)
    static.copy_(batch)
    captured.replay()                      # `output` holds the result for `batch`

A replay does what was noted with the same memory and the same numbers: what Python decided during the capture stays
decided. So a graph whose work draws random numbers is refused here, since it would draw the same in every replay
(PyTorch keeps their state on the device), and so is one in which an optimizer counts its steps, unless it counts them
on the device: Adam and AdamW with ``capturable=True``. A learning rate is the one of the capture.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import TracebackType
from typing import Any

import flambeau
from flambeau import dispatch, random, streams
from flambeau.cuda import streams as cuda_streams
from flambeau.cuda._devices import CUDA, is_initialized, synchronize
from flambeau.cuda.memory import empty_cache
from flambeau.device_runtime import DeviceRuntime
from flambeau.devices import device as Device
from flambeau.optim import optimizer as optimizers
from flambeau.tensor import Tensor
from flambeau.utils import pytree

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing", "make_graphed_callables"]

_MODES = ("global", "thread_local", "relaxed")


def is_current_stream_capturing() -> bool:
    """Whether what the current stream is given is noted for a graph; False where CUDA has not been used."""
    return is_initialized() and cuda_streams.current_stream().is_capturing()


def graph_pool_handle() -> Any:
    """Memory for several graphs to share, which then must not run at the same time."""
    return streams.runtime_of(Device(CUDA), "graph_pool_handle").new_pool()


class CUDAGraph:
    """Work that is noted by :class:`graph` and done by :meth:`replay` (``torch.cuda.CUDAGraph``).

    Args:
        keep_graph: accepted; graphs are made ready when the capture ends.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        self._where = dispatch.load(Device(CUDA))
        self._runtime: DeviceRuntime = streams.runtime_of(self._where, "CUDAGraph")
        self._raw: Any = None
        self._pool: Any = None
        self._stream: Any = None
        self._state: list[int] = []
        self._watch: Any = None

    def capture_begin(
        self, pool: Any = None, capture_error_mode: str = "global", check_input_liveness: bool = False
    ) -> None:
        """Note from here on what the current stream is given; it is not done. :class:`graph` calls it.

        Args:
            pool: memory that another graph uses too, from :meth:`pool` or :func:`graph_pool_handle`.
            capture_error_mode: what is an error meanwhile, beside what this thread does on the stream: ``"global"``,
                ``"thread_local"`` or ``"relaxed"`` (of ``cudaStreamBeginCapture``).
            check_input_liveness: accepted.

        Raises:
            RuntimeError: when it holds a graph, and on the default stream.
            ValueError: for another mode.
        """
        if capture_error_mode not in _MODES:
            raise ValueError(f"capture_begin: expected a mode of {', '.join(_MODES)}, got {capture_error_mode!r}")
        if self._raw is not None or self._stream is not None:
            raise RuntimeError("capture_begin: this object holds a graph; reset() it, or make another")
        self._where = dispatch.load(Device(CUDA))
        stream = cuda_streams.current_stream()
        if stream == cuda_streams.default_stream():
            raise RuntimeError("capture_begin: the default stream cannot be captured; capture on another, see graph()")
        self._pool = self._runtime.new_pool() if pool is None else pool
        self._state = random.get_rng_state().tolist()
        self._runtime.begin_capture(self._where.index or 0, stream._raw, self._pool, capture_error_mode)
        self._watch = optimizers.register_optimizer_step_post_hook(_refuse_counting)
        self._stream = stream

    def capture_end(self) -> None:
        """Note no more.

        Raises:
            RuntimeError: when nothing is being noted, when it could not be, and when random numbers were drawn.
        """
        if self._stream is None:
            raise RuntimeError("capture_end: there was no capture_begin")
        stream, self._stream = self._stream, None
        self._watch.remove()
        raw = self._runtime.end_capture(self._where.index or 0, stream._raw)
        if random.get_rng_state().tolist() != self._state:
            raise RuntimeError(
                "capture_end: random numbers were drawn (dropout?), which would be the same in every replay; capture "
                "in eval() mode, or leave what draws them out of the graph"
            )
        self._raw = raw

    def instantiate(self) -> None:
        """Accepted: graphs are made ready when the capture ends."""

    def replay(self) -> None:
        """Give the current stream the work once more.

        Raises:
            RuntimeError: when nothing has been captured.
        """
        if self._raw is None:
            raise RuntimeError("replay: nothing has been captured")
        self._runtime.replay(self._raw, self._runtime.current_stream(self._where.index or 0))

    def reset(self) -> None:
        """Forget the work, and give its memory back."""
        self._raw = self._pool = None

    def pool(self) -> Any:
        """The memory of the graph, for another one's :meth:`capture_begin`.

        Raises:
            RuntimeError: when nothing has been captured.
        """
        if self._pool is None:
            raise RuntimeError("pool: nothing has been captured")
        return self._pool


def _refuse_counting(optimizer: Any, args: Any, kwargs: Any) -> None:
    if any("step" in state and not isinstance(state["step"], Tensor) for state in optimizer.state.values()):
        raise RuntimeError(
            f"{type(optimizer).__name__}.step: it counts its steps, and in a graph the count stands still; call step() "
            "after replay(), or take Adam or AdamW with capturable=True"
        )


class graph:
    """A ``with`` block whose work for the device is noted, not done (``torch.cuda.graph``).

    Args:
        cuda_graph: where to.
        pool: memory that another graph uses too.
        stream: the stream to capture on, one kept for this unless given.
        capture_error_mode: see :meth:`CUDAGraph.capture_begin`.
        enable_annotations, check_input_liveness: accepted.
    """

    default_capture_stream: cuda_streams.Stream | None = None

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Any = None,
        capture_error_mode: str = "global",
        enable_annotations: bool = False,
        check_input_liveness: bool = False,
    ) -> None:
        where = dispatch.load(Device(CUDA))
        if stream is None:
            stream = graph.default_capture_stream
            if stream is None or stream.device is not where:
                stream = graph.default_capture_stream = cuda_streams.Stream()
        self.cuda_graph = cuda_graph
        self.capture_stream = stream
        self.pool = pool
        self.capture_error_mode = capture_error_mode

    def __enter__(self) -> None:
        synchronize()
        gc.collect()  # memory that is freed during a capture would be noted
        empty_cache()
        self.capture_stream.__enter__()
        try:
            self.cuda_graph.capture_begin(self.pool, self.capture_error_mode)
        except BaseException:
            self.capture_stream.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.cuda_graph.capture_end()
        except RuntimeError:
            if error is None:
                raise  # otherwise the first error says more
        finally:
            self.capture_stream.__exit__(kind, error, trace)


# -- callables -------------------------------------------------------------------------------------------------------


def make_graphed_callables(
    callables: Any,
    sample_args: Any,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: Any = None,
) -> Any:
    """Modules or functions whose forward and backward passes are replays of graphs (``torch.cuda``).

    A graphed module takes part in training as before: gradients flow through it, its parameters have theirs. It is
    itself, with another ``forward``, which is the old one again in the other of ``train()`` and ``eval()``. What a call
    returns is overwritten by the next call.

    Args:
        callables: a module or a function of tensors, or a tuple of them in the order in which they will run.
        sample_args: the arguments of each, tensors of the shapes, dtypes and ``requires_grad`` that will come; a tuple,
            or for a tuple of callables a tuple of tuples.
        num_warmup_iters: passes before the capture, in which kernels are compiled.
        allow_unused_input: allow arguments that the outputs do not depend on.
        pool: memory that other graphs use too.

    Returns:
        What takes the place of ``callables``, of the same structure.

    Raises:
        RuntimeError: for modules with hooks or with buffers that require gradients, and where the passes draw random
            numbers or wait for the device.
        TypeError: for arguments that are no tensors.
    """
    single = not isinstance(callables, tuple)
    each = [_Graphed(function, args, allow_unused_input) for function, args in (
        [(callables, sample_args)] if single else zip(callables, sample_args, strict=True)
    )]  # fmt: skip
    pool = graph_pool_handle() if pool is None else pool
    side = cuda_streams.Stream()
    side.wait_stream(cuda_streams.current_stream())
    with side:
        for one in each:
            for _ in range(num_warmup_iters):
                one.run_forward()
                one.make_cotangents()
                one.run_backward()
            one.forget()
    cuda_streams.current_stream().wait_stream(side)
    for one in each:
        with graph(one.forward_graph, pool):
            one.run_forward()
        one.make_cotangents()  # outside of the graph, which would make them anew in every replay
    for one in reversed(each):  # as they will run, so that the memory can be used again
        with graph(one.backward_graph, pool):
            one.run_backward()
    made = [one.as_callable() for one in each]
    return made[0] if single else tuple(made)


class _Graphed:
    """A callable with the graphs of its two passes and the tensors that these read and write.

    Attributes:
        inputs: the arguments, then the parameters of a module.
        outputs: what it returned, flat.
        cotangents: where the gradients with respect to the outputs are read from, None for outputs that have none.
        gradients: where those with respect to the inputs come, None for inputs that need none.
    """

    def __init__(self, function: Callable[..., Any], args: Any, allow_unused: bool) -> None:
        self.function = function
        self.call = function
        parameters: list[Tensor] = []
        if isinstance(function, flambeau.nn.Module):
            _check_module(function)
            parameters = list(function.parameters())
            self.call = function.forward
        leaves, self.arguments = pytree.tree_flatten(tuple(args))
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            kinds = ", ".join(sorted({type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)}))
            raise TypeError(f"make_graphed_callables: the arguments have to be tensors, got {kinds} too")
        self.taken = len(leaves)
        self.inputs: list[Tensor] = leaves + parameters
        self.allow_unused = allow_unused
        self.forward_graph, self.backward_graph = CUDAGraph(), CUDAGraph()
        self.forget()

    def forget(self) -> None:
        """Drop what a pass has left."""
        self.outputs: list[Tensor] = []
        self.structure: Any = None
        self.cotangents: list[Tensor | None] = []
        self.gradients: list[Tensor | None] = [None] * len(self.inputs)

    def run_forward(self) -> None:
        arguments = pytree.tree_unflatten(self.inputs[: self.taken], self.arguments)
        with flambeau.enable_grad():
            self.outputs, self.structure = pytree.tree_flatten(self.call(*arguments))

    def make_cotangents(self) -> None:
        self.cotangents = [flambeau.empty_like(output) if output.requires_grad else None for output in self.outputs]

    def run_backward(self) -> None:
        wanted = [i for i, tensor in enumerate(self.inputs) if tensor.requires_grad]
        outputs = [output for output in self.outputs if output.requires_grad]
        if not outputs or not wanted:
            return
        found = flambeau.autograd.grad(
            outputs,
            [self.inputs[i] for i in wanted],
            [cotangent for cotangent in self.cotangents if cotangent is not None],
            allow_unused=self.allow_unused,
        )
        for i, gradient in zip(wanted, found, strict=True):
            self.gradients[i] = gradient

    def as_callable(self) -> Any:
        """The callable that replays: a function, or the module with another ``forward``."""
        graphed = self

        class Graphed(flambeau.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *inputs: Tensor) -> Any:
                for static, given in zip(graphed.inputs[: graphed.taken], inputs, strict=False):
                    _refill(static, given)
                graphed.forward_graph.replay()
                return tuple([output.detach() for output in graphed.outputs])

            @staticmethod
            @flambeau.autograd.function.once_differentiable
            def backward(ctx: Any, *cotangents: Tensor) -> Any:
                for static, given in zip(graphed.cotangents, cotangents, strict=True):
                    if static is not None:
                        _refill(static, given)
                graphed.backward_graph.replay()
                # `.grad` becomes a copy of each: the engine takes no array over that others know.
                return tuple([None if gradient is None else gradient.detach() for gradient in graphed.gradients])

        parameters = self.inputs[self.taken :]

        def replayed(*args: Any) -> Any:
            leaves = pytree.tree_leaves(args)
            return pytree.tree_unflatten(Graphed.apply(*leaves, *parameters), self.structure)

        if not isinstance(self.function, flambeau.nn.Module):
            return replayed
        module, training, before = self.function, self.function.training, self.call

        def forward(*args: Any, **kwargs: Any) -> Any:
            return replayed(*args, **kwargs) if module.training == training else before(*args, **kwargs)

        module.forward = forward
        return module


def _refill(static: Tensor, given: Tensor) -> None:
    """Bring values to where a graph reads them."""
    if static.data_ptr() != given.data_ptr():
        with flambeau.no_grad():
            static.detach().copy_(given.detach(), non_blocking=True)


def _check_module(module: Any) -> None:
    hooks = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks")
    if any(getattr(module, name, None) for name in hooks):
        raise RuntimeError("make_graphed_callables: the module has hooks; register them afterwards")
    if any(buffer.requires_grad for buffer in module.buffers()):
        raise RuntimeError("make_graphed_callables: a buffer of the module requires a gradient; only parameters may")
