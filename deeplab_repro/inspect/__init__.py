"""What Caffe's files are made of, what differs between two of them, and nets compared with recordings."""

from deeplab_repro.inspect.compare import Change, comparable, compare
from deeplab_repro.inspect.fields import ReceptiveField, effective_rate, receptive_fields
from deeplab_repro.inspect.files import (
    Content,
    MeanReport,
    Report,
    SolverReport,
    StateReport,
    WeightsReport,
    file_kind,
    inspect_weights,
    read_file,
)
from deeplab_repro.inspect.net import (
    LayerReport,
    NetReport,
    Variable,
    activation_bytes,
    found_variables,
    inspect_net,
    multiply_accumulates,
    parameter_count,
)

__all__ = [
    "Change",
    "Content",
    "LayerReport",
    "MeanReport",
    "NetReport",
    "ReceptiveField",
    "Report",
    "SolverReport",
    "StateReport",
    "Variable",
    "WeightsReport",
    "activation_bytes",
    "comparable",
    "compare",
    "effective_rate",
    "file_kind",
    "found_variables",
    "inspect_net",
    "inspect_weights",
    "multiply_accumulates",
    "parameter_count",
    "read_file",
    "receptive_fields",
]
