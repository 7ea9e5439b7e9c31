"""`deeplab export`: a model back to Caffe's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeplab_repro.cli.backbone import beginning, write_backbone
from deeplab_repro.cli.options import (
    JsonOption,
    LevelOption,
    PhaseOption,
    StageOption,
    VariablesOption,
    parse_net_options,
    parse_phase,
    parse_size,
    parse_variables,
)

if TYPE_CHECKING:
    from deeplab_repro.export.forms import OwnData
    from deeplab_repro.net.network import CaffeNet
    from deeplab_repro.zoo.transplant import Transplant


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A zoo name, bundled, a .prototxt or a .safetensors.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR|FILE", help="Folder for the files; with --onnx the file.", show_default=False
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="W",
            help="A .caffemodel, .caffemodel.h5, a port's .pth, or a name in the catalog; else fillers draw.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="W",
            help="Begin with another net's .caffemodel: VGG-16's, ResNet-101's.",
            show_default=False,
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="A zoo name: write train.prototxt and solver.prototxt.")
    ] = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="A zoo name: all phases of its published training, and run.sh.")
    ] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="A zoo name: write deploy.prototxt.")] = False,
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", help="A zoo name: how many.", show_default=False)
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", help="A zoo name: voc12, context, person_part, cityscapes, coco_stuff, or own.")
    ] = "voc12",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Own data, as `deeplab lists` writes it: its classes, images and lists."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Images of a pass of training.", show_default="the paper's"),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(
            "--dialect",
            help="The Caffe fork to write for, as --dialect of convert; else the net's own.",
            show_default=False,
        ),
    ] = None,
    hdf5: Annotated[bool, typer.Option("--hdf5", help="Write the weights as .caffemodel.h5.")] = False,
    backbone: Annotated[
        Path | None,
        typer.Option(
            "--backbone",
            metavar="NET.prototxt",
            help="DeepLab on any classifier, whose weights --weights names; MODEL is largefov, aspp-s or aspp-l.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option("--head", help="With --backbone: largefov, aspp-s or aspp-l.", show_default="as MODEL says"),
    ] = None,
    output_stride: Annotated[
        int | None,
        typer.Option("--output-stride", metavar="N", help="With --backbone: pixels between scores.", show_default="16"),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            "--cut", metavar="BLOB", help="With --backbone: what the head reads.", show_default="its last feature map"
        ),
    ] = None,
    fc_channels: Annotated[
        int | None,
        typer.Option("--fc-channels", metavar="N", help="With --backbone: of fc6 and fc7.", show_default="1024"),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write one ONNX file of plain operators instead.")] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Input size, of zoo nets and ONNX.", show_default=False)
    ] = None,
    phase: PhaseOption = "TEST",
    variables: VariablesOption = None,
    read_as: Annotated[
        str, typer.Option("--read-as", metavar="DIALECT", help="The Caffe fork the prototxt is for; auto finds out.")
    ] = "auto",
    stage: StageOption = None,
    level: LevelOption = None,
    json: JsonOption = None,
) -> None:
    """Write a model as prototxt and caffemodel, or as ONNX.

    The files, test.prototxt (or train.prototxt) and model.caffemodel, are for the Caffe fork that --dialect names: v1
    writes [b]hole[/b] and old-style layers, v2 [b]dilation[/b] and new-style ones. What is read back has the same bits.

    [dim]deeplab export largefov.safetensors --dialect v2 -o for-caffe[/dim]

    Of a zoo name --train writes train.prototxt, with the data layer of the release (--var gives its DATA_ROOT, EXP and
    TRAIN_SET), and solver.prototxt; --deploy writes deploy.prototxt. Weights come along where --weights or --init names
    some. --init takes what fits of an ImageNet model, thins fc6 and fc7 as the papers did, draws the rest, and tells
    which layer got what.

    --recipe writes every phase of the published training (train on train_aug, train2 on trainval_aug; MSc nets after
    their base; other sets than VOC on train alone) and run.sh, which calls [b]deeplab train[/b] for each.

    [dim]deeplab export deeplab_largefov --train --init VGG_ILSVRC_16_layers.caffemodel -o largefov[/dim]

    Own data: [b]deeplab lists voc-layout[/b] makes a folder of it, --data takes classes and lists from there, and
    [b]deeplab train[/b] needs no --var.

    [dim]deeplab lists voc-layout photos/ -o own && deeplab export deeplab_largefov --train --dataset own --data own -o
    net && deeplab train net/solver.prototxt[/dim]

    --backbone makes DeepLab of any classifier: cut at its last feature map, its last strides turned to rates, the
    papers' head on top, ten times the rate for what is new. Writes train, test and solver files, and init.caffemodel
    for [b]deeplab train --weights[/b]. Trained at one output stride it runs at any: export it again with another.

    [dim]deeplab export largefov --backbone deploy.prototxt --weights classifier.caffemodel --data own -o net[/dim]

    With --onnx it is one file for other runtimes, in phase TEST, for one input size.

    [dim]deeplab export bundled --onnx --size 241x321 -o net.onnx[/dim]
    """
    from deeplab_repro import zoo
    from deeplab_repro.cli.output import check_json
    from deeplab_repro.export.forms import own_data
    from deeplab_repro.predict.opening import open_or_draw, weights_file

    check_json(json)
    if backbone is not None:
        if train or recipe or deploy or onnx or init is not None:
            raise ValueError(
                "--backbone: writes train, test and solver files; leave --train, --recipe, --deploy, "
                "--onnx and --init out"
            )
        write_backbone(
            backbone, weights, head or model, classes, dataset, data, batch,
            {"output_stride": output_stride, "cut": cut, "fc_channels": fc_channels,
             "size": parse_size(size) if size else None},
            output, dialect, hdf5, parse_net_options(variables, read_as, stage, level), json,
        )  # fmt: skip
        return
    named = {"--head": head, "--output-stride": output_stride, "--cut": cut, "--fc-channels": fc_channels}
    if given := [name for name, value in named.items() if value is not None]:
        raise ValueError(f"{given[0]}: is for --backbone NET.prototxt")
    known = model in zoo.names()
    if onnx and (hdf5 or dialect):
        raise ValueError("--onnx: goes with neither --hdf5 nor --dialect, which are for Caffe's files")
    if onnx and (train or deploy or recipe):
        raise ValueError("--onnx: goes with none of --train, --recipe and --deploy")
    if size and not onnx and not known:
        raise ValueError("--size: is for zoo names and --onnx; other nets keep their size in Caffe's files")
    if recipe and train:
        raise ValueError("--recipe: writes what --train does and more; leave --train out")
    if not known and (train or recipe or deploy or classes is not None or dataset != "voc12" or data is not None):
        raise ValueError(
            f"{model}: --train, --recipe, --deploy, --classes, --dataset and --data are for zoo names: "
            f"{', '.join(zoo.names())}"
        )
    own = None if data is None else own_data(data, ("train",))
    if own is not None:
        dataset, classes = "own" if dataset == "voc12" else dataset, classes or own.classes
    elif dataset == "own" and classes is None:
        raise ValueError(
            "--dataset own: how many classes? Give --data DIR, a folder that `deeplab lists voc-layout` made, "
            "or --classes N"
        )
    if batch is not None and not (train or recipe):
        raise ValueError("--batch: is for --train and --recipe")
    if weights is not None and init is not None:
        raise ValueError("--weights and --init exclude each other: trained weights need no beginning")
    weights, init = (None if file is None else weights_file(file) for file in (weights, init))
    facts: dict[str, Any] = {"dataset": dataset, "num_classes": classes}
    if size and known:
        facts["size"] = parse_size(size)
    if dialect in ("v1", "v2"):
        facts["dialect"] = dialect
    values = parse_variables(variables)
    if train or recipe or deploy:
        forms = (train, recipe, deploy)
        facts |= {} if batch is None else {"batch": batch}
        _write_forms(model, facts, output, weights, init, forms, dialect, hdf5, values, own, json)
        return
    asked = parse_net_options(variables, read_as, stage, level)
    net, origin = open_or_draw(model, weights, init, parse_phase(phase), facts, **asked)
    if onnx:
        _write_onnx(net, model, output, None if known else size, json)
    else:
        _write_caffe(net, origin, model, output, weights, dialect, hdf5, json)


def _write_caffe(
    net: CaffeNet,
    origin: Transplant | None,
    model: str,
    output: Path,
    weights: Path | None,
    dialect: str | None,
    hdf5: bool,
    json: str | None,
) -> None:
    from deeplab_repro.cli.output import print_notes, write_json
    from deeplab_repro.export.caffe import export_net
    from deeplab_repro.inspect import parameter_count
    from deeplab_repro.predict.preprocessing import MODELS

    files = export_net(net, output, dialect, hdf5)
    answer = {
        "model": model,
        "prototxt": files.prototxt,
        "weights": files.weights,
        "dialect": files.dialect,
        "phase": net.spec.phase,
        "layers": len(net.spec.layers),
        "parameters": parameter_count(net.spec),
        **_told(origin),
    }
    if write_json(answer, json):
        own = model in ("bundled", *MODELS) or Path(model).suffix == ".safetensors"
        drawn = "" if own or weights is not None or origin is not None else ", drawn by their fillers"
        _print_fates(origin)
        if files.dialect == "text":
            print_notes([f"{files.prototxt}: no one Caffe fork has all of its layers; this program reads it"])
        print(f"{files.prototxt}: {answer['layers']} layers, dialect {files.dialect}, {net.spec.phase}")
        print(f"{files.weights}: {answer['parameters']:,} parameters{drawn}")


def _write_forms(
    name: str,
    facts: dict[str, Any],
    output: Path,
    weights: Path | None,
    init: Path | None,
    forms: tuple[bool, bool, bool],
    dialect: str | None,
    hdf5: bool,
    values: dict[str, str],
    own: OwnData | None,
    json: str | None,
) -> None:
    """The nets and solvers of training, deploy.prototxt, and the weights, if any, of a zoo name."""
    from deeplab_repro.cli.output import write_json
    from deeplab_repro.export.caffe import net_arrays, own_dialect, write_forms
    from deeplab_repro.export.forms import zoo_forms
    from deeplab_repro.inspect import parameter_count
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.predict.opening import filled_net

    train, recipe, deploy = forms
    mode = "GPU" if pick_device("auto").type == "cuda" else "CPU"
    if own is None:
        nets, texts = zoo_forms(name, train, recipe, deploy, values, mode, **facts)
    else:
        values = {"DATA_ROOT": str(own.root), **values}
        nets, texts = zoo_forms(name, train, recipe, deploy, values, mode, own.source("train"), **facts)
        # Beside the nets, where a data layer may look; what it names lies under its root_folder.
        texts |= own.lists if train or recipe else {}
    blobs, origin = None, None
    if weights is not None or init is not None:
        net, origin = filled_net(nets[0][1], name, weights, init)
        blobs = net_arrays(net)
    first = init is not None or recipe
    files = write_forms(nets, output, dialect, texts, blobs, "init" if first else "model", hdf5)
    answer = {
        "model": name,
        "files": files,
        "dialect": dialect or own_dialect([spec for _, spec in nets]),
        "parameters": parameter_count(nets[0][1]),
        **_told(origin),
    }
    if write_json(answer, json):
        _print_fates(origin)
        for file in files:
            print(file)
        if own is not None and train:
            print(f"check the data: deeplab doctor {own.root}")
            print(f"train: deeplab train {output / 'solver.prototxt'}" + beginning(output, files))


def _told(origin: Transplant | None) -> dict[str, Any]:
    """What --init did, for JSON."""
    if origin is None:
        return {}
    layers = [
        {"layer": fate.layer, "what": fate.outcome, "origin": fate.origin, "detail": fate.detail}
        for fate in origin.fates
    ]
    return {"init": {"layers": layers, "skipped": list(origin.skipped)}}


def _print_fates(origin: Transplant | None) -> None:
    if origin is None:
        return
    from deeplab_repro.cli.output import console, table

    columns = ("layer", "what", "from", "detail")
    rows = [(fate.layer, fate.outcome, fate.origin, fate.detail) for fate in origin.fates]
    console().print(table(columns, rows, left=columns))
    print(f"not used of the file: {', '.join(origin.skipped) or 'nothing'}")


def _write_onnx(net: CaffeNet, model: str, output: Path, size: str | None, json: str | None) -> None:
    from deeplab_repro.cli.output import write_json
    from deeplab_repro.export.onnx_export import OPSET, export_onnx
    from deeplab_repro.net.blobs import at_size

    inputs = dict(net.inputs) if size is None else at_size(net.inputs, parse_size(size))
    export_onnx(net, output, inputs)
    answer = {"model": model, "onnx": output, "opset": OPSET, "inputs": inputs, "outputs": net.spec.outputs}
    if write_json(answer, json):
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in inputs.items())
        print(f"{output}: opset {OPSET}, {shapes} -> {', '.join(net.spec.outputs)}")
