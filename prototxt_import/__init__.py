"""Caffe files of every dialect as frozen, typed net descriptions with numpy blobs. Nothing here needs torch."""

from prototxt_import.binary.model_writer import write_weights
from prototxt_import.binary.solverstate import SolverState, read_solverstate, write_solverstate
from prototxt_import.binary.weights import read_mean, read_weights
from prototxt_import.build import layer, make_net
from prototxt_import.errors import CaffeFormatError
from prototxt_import.layers import Options, PythonLayerOptions, layer_type
from prototxt_import.prototxt.solver import SolverSpec, read_solver
from prototxt_import.prototxt.writer import net_text, write_net
from prototxt_import.read import parse_net, read_net
from prototxt_import.spec import NetSpec
from prototxt_import.values import Filler, LayerSpec, ParamSpec

__all__ = [
    "CaffeFormatError",
    "Filler",
    "LayerSpec",
    "NetSpec",
    "Options",
    "ParamSpec",
    "PythonLayerOptions",
    "SolverSpec",
    "SolverState",
    "layer",
    "layer_type",
    "make_net",
    "net_text",
    "parse_net",
    "read_mean",
    "read_net",
    "read_solver",
    "read_solverstate",
    "read_weights",
    "write_net",
    "write_solverstate",
    "write_weights",
]
