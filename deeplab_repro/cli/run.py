"""`deeplab run`: forward passes, blobs into an .npz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    import torch

    from deeplab_repro.cli.output import print_notes, progress, shape_text
    from deeplab_repro.files.arrays import write_npz
    from deeplab_repro.files.atomic import check_output_file
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.layers.data import open_sinks
    from deeplab_repro.train.passes import load_net, run_passes

    check_output_file(output)
    if seed is not None:
        torch.manual_seed(seed)
    given = tuple(pair.partition("=")[0] for pair in inputs or [])
    state = {"phase": parse_phase(phase), **parse_net_options(variables, dialect, stage, level)}
    loaded = load_net(net, weights, given, seed, **state)
    print_notes(loaded.spec.notes)
    chosen = "all" if blobs == "all" else None if blobs is None else [name for name in blobs.split(",") if name]
    loaded = loaded.to(pick_device(device))
    open_sinks(loaded.modules())
    arrays = _read_inputs(loaded, inputs)
    kept = run_passes(loaded, arrays, chosen, progress(range(passes), "running", passes), seed)
    write_npz(kept, output)
    for name, values in kept.items():
        print(f"{name} {shape_text(values.shape)}")


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
