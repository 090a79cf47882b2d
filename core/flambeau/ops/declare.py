"""How an op is declared: once, with everything that others derive from it.

    @elementwise(dtype="float")
    def exp(input: Tensor) -> Tensor:
        '''Return e to the power of each element ...'''

    exp.vjp(input=lambda xp, g, result: xp.mul(g, result))

Three decorators make an :class:`Op` of a function whose name, parameters, annotations and docstring are the op's:

* :func:`elementwise`: a primitive that works element by element; the body is empty, shape and dtype follow from the
  rule.
* :func:`primitive`: the body is the shape rule. It takes :class:`~flambeau.ops.spec.Spec` objects in place of arrays
  and returns one (or a tuple).
* :func:`composite`: the body is the decomposition; its first parameter is the namespace ``xp`` to compute with.

Annotations say how arguments are checked and made canonical before a kernel sees them (:mod:`flambeau.ops.arguments`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dtypes
from flambeau.ops.arguments import CONVERTERS, wrong_type
from flambeau.ops.spec import Spec, broadcast_shapes

#: Every op by name, in the order of declaration (an op's ``index`` is its place).
OPS: dict[str, Op] = {}

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "<required>"})()


class Parameter:
    """One parameter of an op."""

    __slots__ = ("annotation", "default", "is_sequence", "is_tensor", "keyword_only", "name")

    def __init__(self, name: str, annotation: str, default: Any, keyword_only: bool) -> None:
        self.name = name
        self.annotation = annotation
        self.default = default
        self.keyword_only = keyword_only
        self.is_sequence = annotation.startswith("Sequence[Tensor")
        self.is_tensor = annotation.startswith("Tensor") or self.is_sequence


class Op:
    """A declared op.

    Attributes:
        name, doc, parameters: from the function.
        body: the shape rule of a primitive, the decomposition of a composite.
        primitive: whether a backend has to implement it.
        rule: how the dtype comes about: ``"same"`` (the input's), ``"promote"`` (the common type), ``"float"`` (the
            common type, integers become the default float), ``"number"`` (the input's, bools become int64), ``"bool"``
            (operands are promoted, the result is bool), ``"real"`` (the input's, complex becomes real), or None (the
            op's own affair).
        view: the result shares the input's memory.
        inline: always expanded into its parts; no backend replaces it.
        inplace: there is an in-place form, ``name_``.
        pointwise: works element by element with broadcasting.
        differentiable: a result may require gradients.
        aliases: further public names.
        fields: the names of several outputs, where they come as a named tuple (``values``, ``indices``).
        writes: the parameters that the op changes in place, where it returns something; a step that returns None may
            change any.
        public: where it appears: ``"function"``, ``"method"``, ``"functional"`` (``flambeau.nn.functional``).
    """

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        primitive: bool,
        rule: str | None,
        view: bool = False,
        inline: bool = False,
        inplace: bool = False,
        pointwise: bool = False,
        differentiable: bool = True,
        public: Sequence[str] = ("function", "method"),
    ) -> None:
        self.body = _positional(body)
        self.name = body.__name__
        self.doc = body.__doc__ or ""
        self.primitive = primitive
        self.rule = rule
        self.view = view
        self.inline = inline
        self.inplace = inplace
        self.pointwise = pointwise
        self.differentiable = differentiable and rule != "bool"
        self.public = tuple(public)
        self.theme = body.__module__.rpartition(".")[2]
        self.formulas: dict[str, Callable[..., Any]] = {}
        self.joint: Callable[..., Any] | None = None
        self.has_vjp = False
        self.variant: Callable[..., Any] | None = None
        self.variant_names: frozenset[str] = frozenset()
        self.validate: Callable[..., Any] | None = None
        self.normalize: Callable[..., Any] | None = None
        self.inplace_body: Callable[..., Any] | None = None
        self.fields: tuple[str, ...] | None = None
        self.aliases: tuple[str, ...] = ()
        self.writes: tuple[str, ...] = ()
        self.parameters = _parameters(body, skip=0 if primitive else 1)
        self.names = tuple(p.name for p in self.parameters)
        self.positions = {name: i for i, name in enumerate(self.names)}
        self.defaults = [p.default for p in self.parameters]
        self.tensor_positions = tuple(i for i, p in enumerate(self.parameters) if p.is_tensor)
        self.has_sequence = any(p.is_sequence for p in self.parameters)
        # Operands of promotion: the tensors, but not a `condition` or indices.
        self.promoted = tuple(i for i, p in enumerate(self.parameters) if p.is_tensor and p.name not in _NOT_PROMOTED)
        # Whether operands are cast to a common dtype before the kernel sees them.
        several = len(self.promoted) > 1 or self.has_sequence
        self.promotes = rule in ("float", "number") or (rule is not None and several)
        # A composite whose result has the dtype of its operands, even where its parts widen it.
        self.keeps_dtype = not primitive and rule in ("same", "float", "promote", "real")
        self.required = sum(p.default is REQUIRED for p in self.parameters)
        self.positional = sum(not p.keyword_only for p in self.parameters)
        self.tensors = tuple(i for i, p in enumerate(self.parameters) if p.annotation == "Tensor")
        self.converters = tuple(
            (i, CONVERTERS[p.annotation])
            for i, p in enumerate(self.parameters)
            if p.annotation in CONVERTERS and p.annotation != "Tensor"
        )
        self.variadic = next((i for i, p in enumerate(self.parameters) if p.annotation in _SIZES), -1)
        self.plans: dict[Any, Any] = {}
        self.index = len(OPS)
        if self.name in OPS:
            raise ValueError(
                f"op {self.name!r} is declared twice, in {OPS[self.name].body.__module__} and {body.__module__}"
            )
        OPS[self.name] = self

    # -- gradients -----------------------------------------------------------------------------------------------

    def vjp(self, **formulas: Callable[..., Any]) -> None:
        """Give the gradient for inputs, one formula each: ``vjp(input=lambda xp, g, other: xp.mul(g, other))``.

        The names of a formula's parameters after ``xp`` and ``g`` say what is saved: an input's name for that
        input, ``result`` for the output, ``NAME_spec`` for an input's shape and dtype only, an attribute's name
        for that attribute. The engine undoes the broadcasting of ``pointwise`` ops; other formulas do so themselves, by
        ``xp.sum_to_size``.
        """
        unknown = set(formulas) - set(self.names)
        if unknown:
            raise ValueError(f"{self.name}: a gradient is given for {unknown}, which are no parameters")
        self.formulas.update(formulas)
        self.has_vjp = True

    def joint_vjp(self, formula: Callable[..., Any]) -> Callable[..., Any]:
        """Give all gradients in one function ``(xp, g, needs, ...)`` that returns one entry a tensor parameter.

        ``needs`` is a tuple of bools, one a tensor parameter. An op with several outputs receives a tuple of
        cotangents as ``g``, with None for outputs that nothing was computed from.
        """
        self.joint = formula
        self.has_vjp = True
        return formula

    def keywords(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add keywords that only the public function takes, as ``alpha`` of ``add``.

        ``function(xp, *args, **keywords)`` is called in the op's place when one of its keyword-only parameters is
        given; kernels never see them.
        """
        code = function.__code__
        self.variant = function
        self.variant_names = frozenset(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])
        return function

    def check(self, function: Callable[..., None]) -> Callable[..., None]:
        """Have the canonical arguments of every call (tensors as tensors) looked at by ``function``, which raises."""
        self.validate = function
        return function

    def canonical(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Have the arguments of a call made canonical by ``function``, which takes and returns all of them.

        For what the annotations cannot say, as the dims of ``permute``, which are as many as the tensor has.
        """
        self.normalize = function
        return function

    def in_place(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the in-place form its own decomposition ``function(xp, target, ...)``, which returns ``target``."""
        self.inplace_body = function
        return function

    # -- arguments -----------------------------------------------------------------------------------------------

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Arguments as a list in the order of the parameters, checked and made canonical.

        Raises:
            TypeError: for missing, unknown or doubly given arguments and wrong types.
        """
        given = len(args)
        variadic = self.variadic
        if variadic >= 0 and given > variadic + 1 and _is_int(args[variadic]):
            args = self._gathered(args, variadic)
            given = len(args)
        if given > self.positional:
            raise TypeError(
                f"{self.name}() takes at most {self.positional} positional arguments but {given} were given"
            )
        values = [*args, *self.defaults[given:]]
        if kwargs:
            self._place(values, given, kwargs)
        if given < self.required:
            for position in range(given, self.required):
                if values[position] is REQUIRED:
                    raise TypeError(f"{self.name}() missing required argument: '{self.names[position]}'")
        try:
            for position in self.tensors:
                values[position]._array  # noqa: B018 - the cheapest question that only tensors answer
        except AttributeError:
            raise wrong_type(self, position, "Tensor", values[position]) from None
        for position, convert in self.converters:
            values[position] = convert(self, position, values[position], values[0])
        if self.normalize is not None:
            values = list(self.normalize(*values))
        if self.validate is not None:
            self.validate(*values)
        return values

    def _gathered(self, args: tuple[Any, ...], variadic: int) -> tuple[Any, ...]:
        """``x.view(2, 3)``, ``x.permute(1, 0)``: the ints that follow belong together."""
        end = variadic
        while end < len(args) and _is_int(args[end]):
            end += 1
        if end - variadic > 1 or self.parameters[variadic].annotation == "Size":
            return (*args[:variadic], args[variadic:end], *args[end:])
        return args

    def _place(self, values: list[Any], given: int, kwargs: dict[str, Any]) -> None:
        """Put keyword arguments in their places."""
        for name, value in kwargs.items():
            position = self.positions.get(name)
            if position is None:
                position = self.positions.get(_NUMPY_NAMES.get(name, ""))
                if position is None:
                    raise TypeError(
                        f"{self.name}() got an unexpected keyword argument '{name}'; it takes: {', '.join(self.names)}"
                    )
            if position < given:
                raise TypeError(f"{self.name}() got multiple values for argument '{name}'")
            values[position] = value

    def signature(self) -> str:
        """The signature as Python source, ``(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor``."""
        parts = []
        starred = False
        for p in self.parameters:
            if p.keyword_only and not starred:
                parts.append("*")
                starred = True
            default = "" if p.default is REQUIRED else f" = {p.default!r}"
            parts.append(f"{p.name}: {p.annotation}{default}")
        if self.variant is not None:
            parts += [] if starred else ["*"]
            code, kinds = self.variant.__code__, self.variant.__annotations__
            defaults = self.variant.__kwdefaults__ or {}
            for name in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
                default = f" = {defaults[name]!r}" if name in defaults else ""
                parts.append(f"{name}: {kinds.get(name, 'Any')}{default}")
        returned = self.body.__annotations__.get("return", "Tensor").replace("Spec", "Tensor")  # of a shape rule
        return f"({', '.join(parts)}) -> {returned}"

    def __repr__(self) -> str:
        return f"<op {self.name}{self.signature()}>"


_SIZES = {"Size", "Dims", "SomeDims"}  # the ints of a call belong together: x.view(2, 3)
_NOT_PROMOTED = {"condition", "index", "indices", "mask"}  # these keep their dtype
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other", "a": "input"}


def _positional(body: Callable[..., Any]) -> Callable[..., Any]:
    """``body`` with its keyword-only parameters accepted by position too, as kernels get them."""
    code = body.__code__
    if not code.co_kwonlyargcount:
        return body
    count = code.co_argcount
    names = code.co_varnames[count : count + code.co_kwonlyargcount]

    def call(*args: Any, **kwargs: Any) -> Any:
        return body(*args[:count], **dict(zip(names, args[count:], strict=False)), **kwargs)

    return call


def _is_int(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool)  # in x.sum(0, 1, True) the bool is keepdim
    return hasattr(value, "__index__") and getattr(value, "shape", ()) == ()


def _parameters(body: Callable[..., Any], skip: int) -> list[Parameter]:
    # Straight from the code object: inspect.signature would be a third of the import time.
    code = body.__code__
    positional = code.co_varnames[skip : code.co_argcount]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = body.__defaults__ or ()
    annotations = body.__annotations__
    parameters = []
    for i, name in enumerate(positional):
        at = i - (len(positional) - len(defaults))
        parameters.append(Parameter(name, annotations.get(name, "Any"), defaults[at] if at >= 0 else REQUIRED, False))
    for name in keywords:
        default = (body.__kwdefaults__ or {}).get(name, REQUIRED)
        parameters.append(Parameter(name, annotations.get(name, "Any"), default, True))
    return parameters


# -- decorators ------------------------------------------------------------------------------------------------------


def elementwise(
    dtype: str = "same",
    *,
    inplace: bool = True,
    differentiable: bool = True,
    public: Sequence[str] = ("function", "method"),
) -> Callable[[Callable[..., Any]], Op]:
    """Declare a primitive that works element by element; the function's body is empty."""

    def declare(function: Callable[..., Any]) -> Op:
        def shape_rule(*operands: Any) -> Spec:
            specs = [operand for operand in operands if isinstance(operand, Spec)]
            typed = next((operands[i] for i in op.promoted if isinstance(operands[i], Spec)), specs[0])
            shape = broadcast_shapes(op.name, *[spec.shape for spec in specs]) if len(specs) > 1 else specs[0].shape
            return Spec(shape, _ruled(dtype, typed.dtype))

        op = Op(
            function,
            primitive=True,
            rule=dtype,
            inplace=inplace,
            pointwise=True,
            differentiable=differentiable,
            public=public,
        )
        shape_rule.__module__ = function.__module__  # the reference lists ops by the file that declares them
        op.body = shape_rule
        return op

    return declare


def _ruled(rule: str, common: dtypes.dtype) -> dtypes.dtype:
    if rule == "bool":
        return dtypes.bool_
    return common.to_real() if rule == "real" else common


def primitive(
    *,
    dtype: str | None = None,
    view: bool = False,
    inplace: bool = False,
    differentiable: bool = True,
    public: Sequence[str] = ("function", "method"),
) -> Callable[[Callable[..., Any]], Op]:
    """Declare a primitive; the function is its shape rule."""

    def declare(function: Callable[..., Any]) -> Op:
        return Op(
            function,
            primitive=True,
            rule=dtype,
            view=view,
            inplace=inplace,
            differentiable=differentiable,
            public=public,
        )

    return declare


def composite(
    *,
    dtype: str | None = None,
    view: bool = False,
    inline: bool = False,
    inplace: bool = False,
    pointwise: bool = False,
    differentiable: bool = True,
    public: Sequence[str] = ("function", "method"),
) -> Callable[[Callable[..., Any]], Op]:
    """Declare a composite; the function is its decomposition over a namespace."""

    def declare(function: Callable[..., Any]) -> Op:
        return Op(
            function,
            primitive=False,
            rule=dtype,
            view=view,
            inline=inline,
            inplace=inplace,
            pointwise=pointwise,
            differentiable=differentiable,
            public=public,
        )

    return declare
