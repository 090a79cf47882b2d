"""``flambeau.summary``: what a model is made of."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flambeau
from flambeau.autograd.grad_mode import no_grad
from flambeau.nn import Module
from flambeau.nn.modules.lazy import is_lazy
from flambeau.tensor import Tensor
from flambeau.utils.flop_counter import FlopCounterMode
from flambeau.utils.pytree import tree_leaves, tree_map_only

__all__ = ["LayerInfo", "ModelStatistics", "summary"]


@dataclass
class LayerInfo:
    """One call of one module.

    Attributes:
        name: its name in the module that holds it.
        class_name: its class.
        depth: 0 for the model itself.
        input_size, output_size: shapes of what goes in and comes out, one a tensor.
        num_params: its parameters, with those of what it holds.
        own_params: those that none of the modules that it holds has.
        mult_adds: multiplications and additions of its call, with those of what it holds.
        recursive: whether the same module was called before; its parameters are counted once.
    """

    name: str
    class_name: str
    depth: int
    input_size: list[list[int]] = field(default_factory=list)
    output_size: list[list[int]] = field(default_factory=list)
    num_params: int = 0
    own_params: int = 0
    mult_adds: int = 0
    recursive: bool = False


@dataclass
class ModelStatistics:
    """What :func:`summary` has found; ``str`` is the table.

    Attributes:
        summary_list: the calls, in order.
        total_params, trainable_params: how many numbers are in the parameters.
        total_mult_adds: multiplications and additions of one pass, None when no input was given.
        total_param_bytes, total_input_bytes, total_output_bytes: of parameters and buffers; of the input; of what all
            modules that hold no others hand on.
    """

    summary_list: list[LayerInfo]
    total_params: int
    trainable_params: int
    total_mult_adds: int | None
    total_param_bytes: int
    total_input_bytes: int
    total_output_bytes: int
    shown_depth: int = 3

    def __str__(self) -> str:
        shown = [layer for layer in self.summary_list if layer.depth <= self.shown_depth]
        rows = [_row(layer, self.total_mult_adds is not None) for layer in shown]
        titles = ["Layer", "Output shape", "Parameters", "Mult-adds"]
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        rule = "=" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [rule, _line(titles, widths), rule, *[_line(row, widths) for row in rows], rule]
        frozen = self.total_params - self.trainable_params
        lines.append(f"Parameters: {self.total_params:,} (trainable {self.trainable_params:,}, frozen {frozen:,})")
        if self.total_mult_adds is not None:
            lines.append(f"Mult-adds: {self.total_mult_adds:,}")
            lines.append(
                f"Memory: input {_megabytes(self.total_input_bytes)}, outputs {_megabytes(self.total_output_bytes)}, "
                f"parameters {_megabytes(self.total_param_bytes)}"
            )
        return "\n".join([*lines, rule])

    __repr__ = __str__


def summary(
    model: Module,
    input_size: Sequence[Any] | None = None,
    input_data: Any = None,
    *,
    batch_dim: int | None = None,
    depth: int = 3,
    dtypes: Sequence[Any] | None = None,
    verbose: int = 1,
    **kwargs: Any,
) -> ModelStatistics:
    """Show the layers of a model, the shapes between them, parameters and the cost of a pass.

    Nothing is computed: a copy of the model runs on the meta device, and the model stays as it is. A model that looks
    at values (``if x.sum() > 0``) cannot be shown so. The cost is that of matrix products, convolutions and attention.

    Args:
        model: the module. Its lazy modules must have seen an input already.
        input_size: the shape of the input, or a list of shapes for several.
        input_data: the input itself in place of its shape: a tensor, a tuple or list of arguments, a dict of keyword
            arguments. Without both only parameters are shown.
        batch_dim: put a dimension of 1 there into ``input_size``.
        depth: how deep the table goes.
        dtypes: of the inputs that ``input_size`` describes; the default dtype unless given.
        verbose: 0 does not print.
        **kwargs: further arguments of ``forward``.

    Returns:
        The figures; ``str()`` of it is the table.

    Raises:
        TypeError: for no module.
        ValueError: when both ``input_size`` and ``input_data`` are given, and for lazy modules.
        RuntimeError: when the model does not run, with the name of the layer.

        >>> flambeau.summary(model, input_size=(1, 3, 224, 224))
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: expected a Module, got {type(model).__name__}")
    if input_size is not None and input_data is not None:
        raise ValueError("summary: give input_size or input_data, not both")
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise ValueError(f"summary: {lazy[0]} has no shape yet; run the model once, as its lazy modules need")
    # Parameters and buffers are not copied, they are what makes a model large.
    like: dict[int, Any] = {
        id(tensor): Tensor._make_subclass(type(tensor), tensor.detach().to("meta"), tensor.requires_grad)
        for tensor in [*model.parameters(), *model.buffers()]
    }
    on_meta = copy.deepcopy(model, like)
    if input_size is None and input_data is None:
        layers, cost, seen = _without_input(on_meta), None, 0
    else:
        args, named = _arguments(input_size, input_data, batch_dim, dtypes)
        named.update(tree_map_only(Tensor, lambda tensor: tensor.detach().to("meta"), kwargs))
        layers = _run(on_meta, args, named)
        cost = layers[0].mult_adds
        seen = sum(tensor.nbytes for tensor in tree_leaves((args, named)) if isinstance(tensor, Tensor))
    parameters = list(model.parameters())
    found = ModelStatistics(
        layers,
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        cost,
        sum(tensor.nbytes for tensor in [*parameters, *model.buffers()]),
        seen,
        _output_bytes(layers),
        depth,
    )
    if verbose:
        print(found)
    return found


# -- the pass ----------------------------------------------------------------------------------------------------------


def _arguments(
    input_size: Any, input_data: Any, batch_dim: int | None, dtypes: Sequence[Any] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of ``forward``, on the meta device."""
    if input_size is None:
        data = tree_map_only(Tensor, lambda tensor: tensor.detach().to("meta"), input_data)
        if isinstance(data, dict):
            return (), data
        return (tuple(data) if isinstance(data, (tuple, list)) else (data,)), {}
    sizes = [input_size] if not input_size or isinstance(input_size[0], int) else list(input_size)
    kinds = list(dtypes) if dtypes is not None else [flambeau.get_default_dtype()] * len(sizes)
    made = []
    for size, kind in zip(sizes, kinds, strict=True):
        shape = list(size)
        if batch_dim is not None:
            shape.insert(batch_dim, 1)
        made.append(flambeau.empty(shape, dtype=kind, device="meta"))
    return tuple(made), {}


def _run(model: Module, args: tuple[Any, ...], named: dict[str, Any]) -> list[LayerInfo]:
    """Run a model on the meta device and take down the calls of its modules."""
    layers: list[LayerInfo] = []
    open_calls: list[tuple[LayerInfo, int]] = []
    names = {id(child): name for holder in model.modules() for name, child in holder.named_children()}
    called: set[int] = set()
    counter = FlopCounterMode(display=False)

    def before(module: Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        layer = _layer(module, names.get(id(module), ""), len(open_calls))
        layer.input_size = _shapes((inputs, keywords))
        layer.recursive = id(module) in called
        called.add(id(module))
        layers.append(layer)
        open_calls.append((layer, counter.get_total_flops()))

    def after(module: Module, inputs: Any, output: Any) -> None:
        layer, count = open_calls.pop()
        layer.output_size = _shapes(output)
        layer.mult_adds = (counter.get_total_flops() - count) // 2

    for module in model.modules():
        module.register_forward_pre_hook(before, with_kwargs=True)
        module.register_forward_hook(after)
    try:
        with flambeau.random.fork_rng(), no_grad(), flambeau.device("meta"), counter:
            model(*args, **named)
    except Exception as error:
        where = " in ".join(f"{layer.name or 'the model'} ({layer.class_name})" for layer, _ in reversed(open_calls))
        raise RuntimeError(f"summary: the model does not run on the meta device, in {where}: {error}") from error
    return layers


def _without_input(model: Module) -> list[LayerInfo]:
    """The modules as they are held, where nothing is known of shapes."""
    return [
        _layer(module, name.rpartition(".")[2], name.count(".") + 1 if name else 0)
        for name, module in model.named_modules()
    ]


def _layer(module: Module, name: str, depth: int) -> LayerInfo:
    return LayerInfo(
        name,
        type(module).__name__,
        depth,
        num_params=sum(parameter.numel() for parameter in module.parameters()),
        own_params=sum(parameter.numel() for parameter in module.parameters(recurse=False)),
    )


def _shapes(tree: Any) -> list[list[int]]:
    return [list(leaf.shape) for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _output_bytes(layers: list[LayerInfo]) -> int:
    """What the calls hand on in which no other module was called; tensors of the default dtype are assumed."""
    size = flambeau.get_default_dtype().itemsize
    innermost = [
        layer
        for layer, following in zip(layers, [*layers[1:], None], strict=True)
        if following is None or following.depth <= layer.depth
    ]
    return sum(math.prod(shape) * size for layer in innermost for shape in layer.output_size)


# -- the table ---------------------------------------------------------------------------------------------------------


def _row(layer: LayerInfo, with_cost: bool) -> list[str]:
    label = layer.class_name + (f" ({layer.name})" if layer.name else "")
    shapes = ", ".join(map(str, layer.output_size)) or "--"
    count = "(again)" if layer.recursive else f"{layer.num_params:,}" if layer.num_params else "--"
    cost = f"{layer.mult_adds:,}" if with_cost and layer.mult_adds else "--"
    return ["  " * layer.depth + label, shapes, count, cost]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, second, *numbers = zip(cells, widths, strict=True)
    texts = [first[0].ljust(first[1]), second[0].ljust(second[1])]
    return "  ".join([*texts, *[cell.rjust(width) for cell, width in numbers]]).rstrip()


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"
