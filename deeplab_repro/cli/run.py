"""`deeplab run`: forward passes, blobs into an .npz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.options import (
    Device,
    DeviceOption,
    DialectOption,
    LevelOption,
    NetArgument,
    PhaseOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_phase,
)

if TYPE_CHECKING:
    import numpy as np

    from deeplab_repro.data.feeds.feeds import Feeds
    from deeplab_repro.net.network import CaffeNet


def run(
    net: NetArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="NPZ", help="Where the blobs go.")],
    weights: Annotated[
        Path | None,
        typer.Argument(metavar="W", help="Its .caffemodel; without one, its fillers draw.", show_default=False),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="BLOB=NPY", help="Values of an input; may be repeated.", show_default=False),
    ] = None,
    blobs: Annotated[
        str | None,
        typer.Option(
            "--blobs", metavar="A,B|all", help="Blobs to keep; without it the net's outputs.", show_default=False
        ),
    ] = None,
    passes: Annotated[int, typer.Option("--passes", min=1, help="Forward passes, joined along axis 0.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of data layers and dropout masks, as in Caffe; of fillers.", show_default=False),
    ] = None,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    dialect: DialectOption = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Run a net forward and keep blobs.

    Inputs are .npy arrays as Caffe takes them: float [N, C, H, W], BGR, mean subtracted. Any size the net's layers
    allow will do. An in-place chain's blob holds its final value.

    Data layers (ImageSegData, ImageData, DenseImageData, Data over LMDB, HDF5Data, DummyData, MatRead) run from their
    own files unless --input gives their tops; MemoryData takes its batches from --input. With a seed they choose, cut
    and mirror as Caffe does from the same random_seed.

    [dim]deeplab run deploy.prototxt w.caffemodel --input data=x.npy --blobs fc6,fc8 -o out.npz[/dim]
    """
    import numpy as np
    import torch

    from deeplab_repro.cli.output import print_notes, progress, shape_text
    from deeplab_repro.files.arrays import write_npz
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.layers.data import open_sinks
    from deeplab_repro.train.masks import DropoutMasks

    check_output_file(output)
    if seed is not None:
        torch.manual_seed(seed)
    given = tuple(pair.partition("=")[0] for pair in inputs or [])
    state = {"phase": parse_phase(phase), **parse_net_options(variables, dialect, stage, level)}
    loaded = _load(net, weights, state, given, seed)
    print_notes(loaded.spec.notes)
    chosen = "all" if blobs == "all" else None if blobs is None else [name for name in blobs.split(",") if name]
    where = pick_device(device)
    loaded = loaded.to(where)
    open_sinks(loaded.modules())
    arrays = _read_inputs(loaded, inputs)
    kept: dict[str, list[np.ndarray]] = {}
    with _feeds(loaded, arrays, seed) as feeds, torch.no_grad():
        fixed = {name: torch.from_numpy(values) for name, values in arrays.items() if name not in feeds.tops}
        _check_inputs(loaded, (*fixed, *feeds.tops))
        dropout = None if seed is None else DropoutMasks(loaded, feeds.rng)
        for _ in progress(range(passes), "running", passes):
            feed = {name: value.to(where) for name, value in {**fixed, **feeds.next()}.items()}
            shapes = {name: tuple(value.shape) for name, value in feed.items()}
            result = loaded(**feed, blobs=chosen, masks=None if dropout is None else dropout.draw(shapes))
            # With its inputs among them, the file of all blobs is one that `deeplab diff` can read.
            for name, value in ({**feed, **result} if chosen == "all" else result).items():
                kept.setdefault(name, []).append(value.detach().float().cpu().numpy())
    joined = {
        name: np.concatenate(values) if values[0].ndim else np.array([value.item() for value in values])
        for name, values in kept.items()
    }
    write_npz(joined, output)
    for name, values in joined.items():
        print(f"{name} {shape_text(values.shape)}")


def _load(
    file: Path, weights: Path | None, state: dict[str, Any], given: tuple[str, ...], seed: int | None
) -> CaffeNet:
    """The net; where only the data tell the shapes of its parameters, by a look at the first batch."""
    from deeplab_repro.data.feeds.feeds import open_feeds
    from deeplab_repro.net.load import load_caffe
    from deeplab_repro.net.network import CaffeNet
    from deeplab_repro.train.nets import sized
    from prototxt_import import read_net

    if file.suffix == ".safetensors":
        return load_caffe(file, weights, **state)
    spec = read_net(file, weights=weights, **state)
    if any(layer.params and layer.name not in spec.param_shapes for layer in spec.layers):
        with open_feeds(spec, seed, given=given) as feeds:
            spec = sized(spec, feeds)
    return CaffeNet(spec)


def _read_inputs(net: CaffeNet, pairs: list[str] | None) -> dict[str, np.ndarray]:
    """The arrays of --input, float32; ValueError for an unknown, unreadable or missing one."""
    import numpy as np

    from deeplab_repro.files.arrays import load_numpy
    from prototxt_import.errors import nearest

    arrays = {}
    for pair in pairs or []:
        name, equals, file = pair.partition("=")
        if not equals:
            raise ValueError(f"--input {pair}: must be BLOB=FILE.npy")
        if name not in net.inputs:
            raise ValueError(f"--input {name}: the net has no such input{nearest(name, net.inputs)}")
        values = load_numpy(file)
        if isinstance(values, dict) or values.dtype.kind not in "fiub":
            raise ValueError(f"{file}: must be one .npy array of numbers")
        arrays[name] = np.ascontiguousarray(values, np.float32)
    return arrays


def _feeds(net: CaffeNet, arrays: dict[str, np.ndarray], seed: int | None) -> Feeds:
    """The data layers whose tops are not all given; a MemoryData layer takes its batches from arrays that are."""
    from deeplab_repro.data.feeds.feeds import open_feeds

    memory = {top for layer in net.spec.layers if layer.type == "MemoryData" for top in layer.tops}
    rows = {name: values for name, values in arrays.items() if name in memory}
    return open_feeds(net.spec, seed, arrays=rows, given=tuple(set(arrays) - memory))


def _check_inputs(net: CaffeNet, known: tuple[str, ...]) -> None:
    """ValueError unless everything the net reads is given or read from files."""
    lacking = [f"{name} {list(shape)}" for name, shape in net.inputs.items() if name not in known]
    if lacking:
        raise ValueError(f"the net needs --input for {', '.join(lacking)}")
