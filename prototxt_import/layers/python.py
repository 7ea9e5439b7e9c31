"""`type: "Python"`: code of the user's that a Caffe net names, and what is known of it.

Without bottoms such a layer feeds the net, so that its tops are inputs. With bottoms it computes something, which only
a registered type can do: one whose name is that of the Python class, with the class's parameters as its options."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_type_hints

from prototxt_import.layers.base import Context, Options, required
from prototxt_import.layers.messages import put
from prototxt_import.layers.table import lookup, register
from prototxt_import.values import Shape

P = TypeVar("P", bound="PythonLayerOptions")

# Shapes of what FCN's data layers give, one image at a time; every image has its own size, this is PASCAL's largest.
_SIDE = 500
_FCN_LAYERS = (
    "VOCSegDataLayer",
    "SBDDSegDataLayer",
    "NYUDSegDataLayer",
    "PASCALContextSegDataLayer",
    "SIFTFlowSegDataLayer",
)
_FCN_CHANNELS = {"data": 3, "color": 3, "hha": 3, "depth": 1, "label": 1, "sem": 1, "geo": 1}


def parameters(text: str) -> dict[str, Any]:
    """The dictionary that a param_str holds.

    Args:
        text: The param_str.

    Returns:
        The dictionary; empty where the text is.

    Raises:
        ValueError: It is something else.
    """
    if not text.strip():
        return {}
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"param_str is {text[:60]!r}; a dictionary in Python's notation is expected")
    return value


class PythonLayerOptions(Options):
    """Base of options that stand in a Python layer's param_str, one attribute per key of its dictionary.

    The class attribute `python_module` is the module that holds the layer's class, for files that are written.

    Source:
        Caffe's PythonParameter (caffe.proto).

    Example:
        >>> from dataclasses import dataclass
        >>> from prototxt_import import PythonLayerOptions, layer_type, parse_net
        >>> @layer_type("ExampleMargin")  # the name of the Python class, too
        ... @dataclass(frozen=True)
        ... class ExampleMarginOptions(PythonLayerOptions):
        ...     python_module = "crops"
        ...     margin: int = 0
        >>> net = parse_net('input: "x" input_shape { dim: 1 } layer { name: "c" type: "Python" bottom: "x" top: "y" '
        ...                 'python_param { module: "crops" layer: "ExampleMargin" param_str: "'
        ...                 + str({"margin": 4}) + '" } }')
        >>> net.layers[0].options.margin
        4
    """

    python_module: ClassVar[str] = ""

    @classmethod
    def parse(cls: type[P], message: Any, context: Context) -> P:
        given = parameters(message.python_param.param_str)
        hints = get_type_hints(cls)
        facts = {}
        for option in dataclasses.fields(cls):
            if option.name in given:
                facts[option.name] = _converted(given[option.name], hints[option.name], option.name)
            elif required(option):
                raise ValueError(f"{option.name} is missing in param_str")
        return cls(**facts)

    def emit(self, message: Any, dialect: str) -> None:
        facts = {option.name: getattr(self, option.name) for option in dataclasses.fields(self)}
        put_python(message, self.python_module, message.type, facts)


def _converted(value: Any, kind: Any, name: str) -> Any:
    """A value of a param_str in the type of its attribute; numbers may stand there as strings."""
    if kind in (int, float) and isinstance(value, str):
        try:
            return kind(value)
        except (ValueError, OverflowError):
            raise ValueError(f"{name} is {value!r} in param_str; it must be a number") from None
    return tuple(value) if isinstance(value, list) else value


def put_python(message: Any, module: str, layer: str, facts: Mapping[str, Any]) -> None:
    """Make a layer's message one of type Python.

    Args:
        message: The message, which is changed.
        module: The module that holds the class.
        layer: The class's name.
        facts: What its param_str holds.
    """
    put(message, "python_param", "module", module)
    put(message, "python_param", "layer", layer)
    if facts:
        put(message, "python_param", "param_str", repr(dict(facts)))
    message.type = "Python"


# The names under which a class that this package knows is registered.
_KNOWN = {("spatial_dropout", "SpatialDropoutLayer"): "SpatialDropout"}


def python_type(message: Any) -> str:
    """The registered type that runs a layer of type Python.

    Args:
        message: The layer's message.

    Returns:
        The class's own type, else "Python".
    """
    module, layer = message.python_param.module, message.python_param.layer
    known = _KNOWN.get((module, layer), layer)
    row = lookup(known)
    named = row is not None and (known != layer or issubclass(row.options, PythonLayerOptions))
    return known if named else "Python"


@register("Python", field="python_param", bottoms=(0, None), tops=(0, None), data=True)
@dataclass(frozen=True)
class PythonOptions(Options):
    """A Python layer without bottoms; what it gives only its code can tell."""

    module: str = ""
    layer: str = ""
    param_str: str = ""

    @classmethod
    def parse(cls, message: Any, context: Context) -> PythonOptions:
        source = message.python_param
        if context.bottoms:
            name = source.layer
            raise ValueError(
                f"class {name} of module {source.module} is Python code that nothing here runs; register it: "
                f"@prototxt_import.layer_type({name!r}) on a subclass of PythonLayerOptions, and "
                f"@deeplab_repro.layers.module({name!r}) on the CaffeLayer that computes it"
            )
        return cls(source.module, source.layer, source.param_str)

    def shapes(self, bottoms: Sequence[Shape], tops: int) -> tuple[Shape, ...] | None:
        return None

    def nominal(self, tops: Sequence[str]) -> tuple[Shape, ...] | None:
        if self.layer not in _FCN_LAYERS or any(top not in _FCN_CHANNELS for top in tops):
            return None
        return tuple((1, _FCN_CHANNELS[top], _SIDE, _SIDE) for top in tops)
