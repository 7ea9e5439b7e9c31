"""`deeplab export --backbone`: DeepLab on any classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeplab_repro.cli.options import NetOptions


def write_backbone(
    backbone: Path,
    weights: Path | None,
    head: str,
    classes: int | None,
    dataset: str,
    data: Path | None,
    batch: int | None,
    facts: Mapping[str, Any],
    output: Path,
    dialect: str | None,
    hdf5: bool,
    read: NetOptions,
    json: str | None,
) -> None:
    """Write the training files of DeepLab on a classifier, and what its training begins with.

    Args:
        backbone: The classifier's prototxt.
        weights: Its model, a file or a name of the catalog.
        head: largefov, aspp-s or aspp-l.
        classes: How many; None for those of `data` or `dataset`.
        dataset: Ends the score layer's name.
        data: A folder that `deeplab lists` made.
        batch: Images of a pass.
        facts: As `zoo.backbone_spec` takes them; None for its own.
        output: Folder of the files.
        dialect: As of --dialect.
        hdf5: As of --hdf5.
        read: How the prototxt is read.
        json: As of --json.

    Raises:
        ValueError: Something does not fit.
        CaffeFormatError: As `zoo.backbone_spec`.
        OSError: A file cannot be read or written.
    """
    from deeplab_repro import zoo
    from deeplab_repro.cli.output import shape_text, write_json
    from deeplab_repro.export.caffe import own_dialect, write_forms
    from deeplab_repro.export.forms import backbone_forms, own_data
    from deeplab_repro.inspect import parameter_count
    from deeplab_repro.jobs.devices import pick_device
    from deeplab_repro.predict.opening import require_weights, weights_file
    from deeplab_repro.predict.preprocessing import spec_preprocessing
    from prototxt_import import read_net

    own = None if data is None else own_data(data, ("train",))
    count = classes or (own.classes if own is not None else zoo.DATASETS.get(dataset))
    if count is None:
        raise ValueError(f"--dataset {dataset}: how many classes? Give --classes N, or --data DIR")
    source = None if weights is None else weights_file(weights)
    classifier = read_net(backbone, source, "TEST", **read)
    if source is not None:
        require_weights(classifier, source, backbone)
    before = spec_preprocessing(classifier)
    values = {**({} if own is None else {"DATA_ROOT": str(own.root)}), **read["variables"]}
    mode = "GPU" if pick_device("auto").type == "cuda" else "CPU"
    listed = {} if own is None else {"source": own.source("train")}
    chosen = {name: value for name, value in facts.items() if value is not None}
    chosen["score_layer"] = f"fc8_{'own' if own is not None and dataset == 'voc12' else dataset}"
    nets, texts = backbone_forms(
        classifier, head, count, values, mode, batch=batch, mean_bgr=before.mean_bgr, scale=before.scale, **listed,
        **chosen,
    )  # fmt: skip
    texts |= own.lists if own is not None else {}
    blobs = nets[0][1].weights or None
    files = write_forms(nets, output, dialect, texts, blobs, "init", hdf5)
    shapes = {name: nets[1][1].blobs[name] for name in nets[1][1].outputs}
    answer = {
        "model": head,
        "backbone": backbone,
        "files": files,
        "dialect": dialect or own_dialect([spec for _, spec in nets]),
        "parameters": parameter_count(nets[1][1]),
        "outputs": shapes,
    }
    if write_json(answer, json):
        for file in files:
            print(file)
        told = ", ".join(f"{name} {shape_text(shape)}" for name, shape in shapes.items())
        print(f"{answer['parameters']:,} parameters; {told}")
        if source is not None and before.mean_bgr != zoo.training.MEAN_BGR:
            print("the mean of its image has moved into the first convolution: train and run with the papers' own")
        if own is not None:
            print(f"check the data: deeplab doctor {own.root}")
        print(f"train: deeplab train {output / 'solver.prototxt'}" + beginning(output, files))


def beginning(output: Path, files: list[Path]) -> str:
    """--weights with the model among the files written.

    Args:
        output: Their folder.
        files: The files.

    Returns:
        The option with a space before it; nothing where there is no model.
    """
    models = [file for file in files if file.suffix in (".caffemodel", ".h5")]
    return f" --weights {models[0]}" if models else ""
