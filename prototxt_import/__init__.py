"""Caffe files of every dialect as frozen, typed net descriptions with numpy blobs. Nothing here needs torch."""

from prototxt_import.build import layer, make_net
from prototxt_import.errors import CaffeFormatError
from prototxt_import.layers import Options, layer_type
from prototxt_import.model_writer import write_weights
from prototxt_import.net import parse_net, read_net
from prototxt_import.solver import SolverSpec, read_solver
from prototxt_import.solverstate import SolverState, read_solverstate, write_solverstate
from prototxt_import.spec import Filler, LayerSpec, NetSpec, ParamSpec
from prototxt_import.weights import read_mean, read_weights
from prototxt_import.writer import net_text, write_net

__all__ = [
    "CaffeFormatError",
    "Filler",
    "LayerSpec",
    "NetSpec",
    "Options",
    "ParamSpec",
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
