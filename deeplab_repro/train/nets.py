"""The nets a solver file names, made ready: data layers opened, sizes settled, weights loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from deeplab_repro.net.network import CaffeNet
from prototxt_import import LayerSpec, NetSpec, SolverSpec, parse_net, read_net, read_weights
from prototxt_import.binary.weights import with_weights
from prototxt_import.layers import is_source
from prototxt_import.paths import named_file
from prototxt_import.prototxt.solver import InlineNet, NetState
from prototxt_import.values import Array

if TYPE_CHECKING:
    from deeplab_repro.data.feeds.feeds import Feeds


def train_spec(solver: SolverSpec, variables: Mapping[str, str], dialect: str = "auto") -> NetSpec:
    """Read the TRAIN net of a solver.

    Args:
        solver: The solver.
        variables: Values of the ${NAME}s in the net's file.
        dialect: The fork that the net is for.

    Returns:
        The net; sizes that the data decide are unknown.

    Raises:
        CaffeFormatError: The file cannot be read.
        ValueError: The solver names none or two, or nothing feeds the net.
    """
    fields = ("train_net_param", "train_net", "net_param", "net")
    given = {name: getattr(solver, name) for name in fields if getattr(solver, name)}
    if len(given) != 1:
        fault = (
            f"gives {' and '.join(given)}; one of them is enough" if given else "names no net; give train_net or net"
        )
        raise ValueError(f"{solver.source}: {fault}")
    [net] = given.values()
    return _read(net, solver, "TRAIN", solver.train_state, variables, dialect)


def test_specs(solver: SolverSpec, variables: Mapping[str, str], dialect: str = "auto") -> list[NetSpec]:  # noqa: PT028
    """Read the TEST nets of a solver: its test_net_param, its test_net files, then `net` for the rest.

    Args:
        solver: The solver.
        variables: Values of the ${NAME}s in the nets' files.
        dialect: The fork that the nets are for.

    Returns:
        One net per test_iter.

    Raises:
        CaffeFormatError: A file cannot be read.
        ValueError: test_iter, test_interval and the nets do not belong together, as Caffe checks, or nothing feeds a
            net.
    """
    count = len(solver.test_iter)
    if solver.test_interval < 0 or any(passes < 1 for passes in solver.test_iter):
        raise ValueError(f"{solver.source}: test_interval and test_iter must be positive")
    own: list[str | InlineNet] = [*solver.test_net_param, *solver.test_net]
    common = solver.net_param or solver.net
    named = [*own, *[common] * (count - len(own) if common else 0)]
    if len(named) != count:
        raise ValueError(f"{solver.source}: has {count} test_iter for {len(named)} test nets; give one for each")
    if count and not solver.test_interval:
        raise ValueError(f"{solver.source}: test_iter needs a test_interval")
    if solver.test_state and len(solver.test_state) != count:
        raise ValueError(f"{solver.source}: has {len(solver.test_state)} test_state for {count} test nets")
    states = solver.test_state or [NetState()] * count
    return [_read(net, solver, "TEST", state, variables, dialect) for net, state in zip(named, states, strict=True)]


def _read(
    net: str | InlineNet, solver: SolverSpec, phase: str, state: NetState, variables: Mapping[str, str], dialect: str
) -> NetSpec:
    if isinstance(net, InlineNet):
        # Its placeholders were replaced with the solver's.
        where = solver.source
        spec = parse_net(net.text, solver.source, None, phase, variables, dialect, state.level, state.stages)
    else:
        where = str(named_file(net, solver.source, variables.values()))
        spec = read_net(where, None, phase, variables, dialect, state.level, state.stages)
    fed = {top for layer in spec.layers if is_source(layer) for top in layer.tops}
    inputs = [name for name in spec.inputs if name not in fed]
    if inputs or not fed:
        fault = f"its input {inputs[0]!r} comes from no data layer" if inputs else "it has no data layer"
        raise ValueError(f"{where}: {fault} in phase {phase}; a solver's nets need layers that read files")
    return spec


def sized(spec: NetSpec, feeds: Feeds) -> NetSpec:
    """Settle every shape: where the data decide, by a look at the first batch, which stays to be read.

    Args:
        spec: The net.
        feeds: Its data layers.

    Returns:
        The net with every shape known.
    """
    if all(layer.name in spec.param_shapes for layer in spec.layers if layer.params) and all(
        top in spec.blobs for layer in spec.layers if is_source(layer) for top in layer.tops
    ):
        return spec
    before = feeds.state_dict()
    shapes = {name: tuple(value.shape) for name, value in feeds.next().items()}
    feeds.load_state_dict(before)
    return spec.with_inputs(shapes)


def with_models(spec: NetSpec, files: Sequence[Path]) -> NetSpec:
    """Give a net the blobs of models, matched by layer name.

    Args:
        spec: The net.
        files: The models; a later one's blobs take the place of an earlier one's.

    Returns:
        The net with weights.

    Raises:
        CaffeFormatError: A file is no model, or its blobs do not fit.
    """
    stored: dict[str, Sequence[Array]] = {}
    for file in files:
        stored.update(read_weights(file))
    return with_weights(spec, stored, ", ".join(map(str, files))) if files else spec


def share_parameters(trained: CaffeNet, tested: CaffeNet) -> None:
    """Let a test net use the very blobs of the trained net, layer by name, as Caffe's do; others keep their own.

    Args:
        trained: The net that is trained.
        tested: The test net, which is changed.

    Raises:
        ValueError: A layer of one name has blobs of other shapes.
    """
    for name, blobs in tested.params.items():
        theirs = trained.params.get(name)
        if not blobs or theirs is None:
            continue
        if [tuple(b.shape) for b in blobs] != [tuple(b.shape) for b in theirs]:
            raise ValueError(
                f"{tested.spec.source}: layer {name!r} has blobs of shapes {[list(b.shape) for b in blobs]}, the net "
                f"that is trained {[list(b.shape) for b in theirs]}"
            )
        module = tested.module_of(name)
        attributes = [key for key, value in module.named_parameters(recurse=False) if isinstance(value, nn.Parameter)]
        for attribute, blob in zip(attributes, theirs, strict=True):
            setattr(module, attribute, blob)


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Move a batch to where the net is; maps channels last, in which convolutions train a fifth faster.

    Args:
        batch: Blobs by name.
        device: The net's.

    Returns:
        The blobs there.
    """
    moved = {}
    for name, value in batch.items():
        layout = torch.channels_last if value.dim() == 4 else torch.preserve_format
        moved[name] = value.to(device, non_blocking=True, memory_format=layout)
    return moved


def weight_notes(spec: NetSpec) -> list[str]:
    """What is worth knowing of a train net's beginning.

    Args:
        spec: The net with its weights.

    Returns:
        Sentences about what a text was taken for, layers without stored weights, stored weights without a layer, and
        draws that differ.
    """
    notes = list(spec.notes)
    if spec.missing_weights or not spec.weights:
        drawn = spec.missing_weights or [layer.name for layer in spec.layers if layer.params]
        notes.append(
            f"drawn by fillers, from this program's generator: {_names(drawn)} (Caffe would draw other numbers)"
        )
        blank = [layer.name for layer in spec.layers if layer.name in drawn and _is_blank(layer, spec.phase)]
        if blank:
            notes.append(f"BatchNorm layers without statistics divide by almost nothing: {_names(blank)}")
    if any(layer.options.dropped() is not None for layer in spec.layers) and any(map(_draws, spec.layers)):
        notes.append(
            "dropout masks, and in v1 crops and mirrors, differ from what Caffe draws from the same seed: its fillers "
            "draw before them, even where stored weights follow"
        )
    if spec.unused_weights:
        notes.append(f"stored weights that this net does not use: {_names(spec.unused_weights)}")
    return notes


def _draws(layer: LayerSpec) -> bool:
    """Whether a filler of the layer takes random numbers."""
    fillers = (getattr(layer.options, name, None) for name in ("weight_filler", "bias_filler", "filler"))
    return any(filler is not None and filler.type not in ("constant", "bilinear") for filler in fillers)


def _is_blank(layer: LayerSpec, phase: str) -> bool:
    """Whether the layer divides by what the fillers left blank."""
    return bool(layer.options.neutral_blobs()) and not layer.options.from_batch(phase)


def _names(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
