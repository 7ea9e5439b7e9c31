"""Writes docs/supported.md: every layer type and every family of nets, what of it works, and the recordings behind it.

    python tests/tools/supported.py            # write the page
    python tests/tools/supported.py --check    # exit 1 where the page is not what would be written

Every cell comes from the tables that the program itself uses, or from trying: a layer of the type is read, run and
differentiated, and written in each dialect. How many recordings a type has is counted where the recordings of all
cases lie beside the checkout, and taken from the page where they do not."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping

import torch

from deeplab_repro import CaffeNet
from deeplab_repro.data.feeds.feeds import reader_of
from deeplab_repro.export.onnx_nodes import TABLE
from deeplab_repro.layers import has_module
from prototxt_import import CaffeFormatError, NetSpec, parse_net, schema
from prototxt_import.layers import LayerType, layer_types
from prototxt_import.prototxt.writer import layer_message
from tests.paths import ROOT, SHARED

PAGE = ROOT / "docs" / "supported.md"
DIALECTS = [name for name in schema.DIALECTS if name != "text"]

# What a type needs to be read at all, beyond its name and blobs.
FIELDS = {
    "BN": "bn_param { slope_filler { type: 'constant' value: 1 } }",
    "BiasChannel": "bias_channel_param { bg_bias: 1 fg_bias: 2 }",
    "Clip": "clip_param { min: 0 max: 1 }",
    "Convolution": "convolution_param { num_output: 4 kernel_size: 1 }",
    "Crop": "crop_param { offset: 0 }",
    "Deconvolution": "convolution_param { num_output: 4 kernel_size: 1 }",
    "DenseCRF": "dense_crf_param { max_iter: 1 pos_xy_std: 3 pos_w: 1 }",
    "Embed": "embed_param { num_output: 2 input_dim: 9 }",
    "HDF5Output": "hdf5_output_param { file_name: 'o.h5' }",
    "Im2col": "convolution_param { kernel_size: 1 }",
    "InnerProduct": "inner_product_param { num_output: 2 }",
    "Interp": "interp_param { zoom_factor: 2 }",
    "LRN": "lrn_param { local_size: 3 }",
    "MatWrite": "mat_write_param { prefix: 'o' }",
    "MultiStageMeanfield": (
        "multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 9 theta_beta: 9 theta_gamma: 3 }"
    ),
    "Parameter": "parameter_param { shape { dim: 2 } }",
    "Pooling": "pooling_param { kernel_size: 2 stride: 2 }",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 } }",
    "SPP": "spp_param { pyramid_height: 1 }",
    "SpatialDropout": (
        "python_param { module: 'spatial_dropout' layer: 'SpatialDropoutLayer' "
        "param_str: \"{'p': 0.5, 'phase': 'TEST'}\" }"
    ),
    "Tile": "tile_param { tiles: 2 }",
    "UniqueLabel": "unique_label_param { max_labels: 5 }",
    "Unpooling": "unpooling_param { kernel_size: 2 stride: 2 }",
    "Upsample": "upsample_param { scale: 2 }",
}

# The same type as another fork's text has it.
_MAP = 'input: "x" input_shape { dim: 2 dim: 4 dim: 4 dim: 4 }'
OTHER_TEXTS = {
    "BN": f'{_MAP} layer {{ name: "l" type: "BN" bottom: "x" top: "t" bn_param {{ bn_mode: LEARN }} }}',
    "Crop": f'{_MAP} layer {{ name: "l" type: "Crop" bottom: "x" bottom: "x" top: "t" }}',
}

# Bottoms of types that do not take maps alike: shapes, (2, 4, 4, 4) for the rest.
BOTTOMS = {
    "Accuracy": [(2, 4), (2,)],
    "BatchReindex": [(2, 4), (3,)],
    "BiasChannel": [(2, 4, 4, 4), (2, 4, 1, 1)],
    "AdaptiveBiasChannel": [(2, 4, 4, 4), (2, 4, 1, 1)],
    "ContrastiveLoss": [(2, 4, 1, 1), (2, 4, 1, 1), (2, 1, 1, 1)],
    "DenseCRF": [(1, 2, 5, 6), (1, 1, 1, 2), (1, 3, 5, 6)],
    "DomainTransform": [(2, 4, 4, 4), (2, 1, 4, 4), (2, 1, 1, 2)],
    "Embed": [(3,)],
    "Filter": [(2, 4), (2, 1, 1, 1)],
    "HingeLoss": [(2, 4), (2,)],
    "InfogainLoss": [(2, 4), (2,), (1, 1, 4, 4)],
    "LabelCRF": [(1, 4, 5, 6), (1, 3, 5, 6)],
    "MultiStageMeanfield": [(1, 2, 5, 6), (1, 2, 5, 6), (1, 3, 5, 6)],
    "MultinomialLogisticLoss": [(2, 4), (2,)],
    "SegAccuracy": [(2, 4, 4, 4), (2, 1, 4, 4)],
    "SoftmaxWithLoss": [(2, 4, 4, 4), (2, 1, 4, 4)],
    "SpatialProduct": [(2, 4, 4, 4), (2, 1, 4, 4)],
    "UniqueLabel": [(2, 1, 4, 4)],
}

# Family, dialect of its text, layer types it is told by or brings, and where small nets of it are built and run.
FAMILIES = [
    (
        "DeepLab v1: DeepLab, MSc, LargeFOV, with and without CRF",
        "v1",
        "hole, IMAGE_SEG_DATA, INTERP, PADDING, DENSE_CRF",
    ),
    ("DeepLab v2: VGG-16 and ResNet-101, ASPP, MSC", "v2, x2", "dilation, ImageSegData, Interp, SegAccuracy, DenseCRF"),
    ("VGG, ResNet, GoogLeNet, SqueezeNet, MobileNet and other classifiers", "bvlc", "BatchNorm, Scale, Input, Clip"),
    ("FCN-32s, 16s, 8s", "bvlc", "Python sources, Deconvolution, Crop"),
    ("Dilation (front end and context)", "bvlc", "dilation"),
    ("HED", "hed", "Crop aligned, SigmoidCrossEntropyLoss weighted by class"),
    ("CRF-RNN", "crfrnn", "MultiStageMeanfield, CROP"),
    ("PSPNet, ICNet", "pspnet", "BN with four blobs, Interp"),
    ("SegNet, Bayesian SegNet", "segnet", "BN with two blobs, Upsample, DenseImageData, sampled Dropout"),
    ("ENet", "enet", "SpatialDropout, BN, Upsample"),
    ("DeconvNet", "segnet", "UNPOOLING, BN"),
    ("ParseNet", "text", "Normalize"),
    ("DT-EdgeNet", "v2", "DomainTransform"),
    ("Attention to Scale", "v2", "SpatialProduct"),
    ("SEC (deploy)", "v2", "hole in `layer` blocks"),
    ("CCNN (deploy)", "crfrnn", "Crop aligned, its own DenseCRF (LabelCRF here)"),
]


def probe(row: LayerType) -> NetSpec:
    """A net of one layer of a type."""
    least, most = row.bottoms
    number = max(least, 1) if most is None else least
    shapes = BOTTOMS.get(row.name, [])
    shapes = [*shapes, *[(2, 4, 4, 4)] * (number - len(shapes))]
    inputs = "".join(
        f'input: "b{i}" input_shape {{ {" ".join(f"dim: {side}" for side in shape)} }} '
        for i, shape in enumerate(shapes)
    )
    blobs = [f'bottom: "b{i}"' for i in range(len(shapes))] + [f'top: "t{i}"' for i in range(row.tops[0])]
    text = f'layer {{ name: "l" type: "{row.name}" {" ".join(blobs)} {FIELDS.get(row.name, "")} }}'
    return parse_net(f"{inputs} {text}")


def trains(spec: NetSpec) -> bool:
    """Whether a gradient reaches a bottom or a blob of the net's one layer."""
    net = CaffeNet(spec, generator=torch.Generator().manual_seed(0))
    fed = {name: torch.ones(shape).requires_grad_() for name, shape in spec.inputs.items()}
    blobs = net(**fed, blobs="all")
    tops = [blobs[top] for layer in spec.layers for top in layer.tops]
    return any(top.requires_grad for top in (*tops, blobs.loss) if top is not None)


def written_in(spec: NetSpec) -> list[str]:
    """The dialects that hold the net's one layer."""
    holding = []
    for dialect in DIALECTS:
        try:
            layer_message(spec.layers[0], dialect, "")
        except CaffeFormatError:
            continue
        holding.append(dialect)
    return holding


def recorded() -> dict[str, str]:
    """How many recordings each layer type has, from the recordings where they are, else from the page."""
    manifests = [SHARED / "golden" / name / "manifest.json" for name in ("caffe", "siblings")]
    if not all(manifest.exists() for manifest in manifests):
        rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
        return dict(rows)
    forward: Counter[str] = Counter()
    backward: Counter[str] = Counter()
    for manifest in manifests:
        for case in json.loads(manifest.read_text(encoding="utf-8"))["cases"]:
            name = "SpatialDropout" if case["category"] == "Python" else case["category"]
            forward[name] += 1
            backward[name] += bool(case.get("backward"))
    return {
        name: f"{cases}, {backward[name]} with gradients" if backward[name] else str(cases)
        for name, cases in forward.items()
    }


def mark(answer: bool) -> str:
    """A cell."""
    return "yes" if answer else "-"


def layer_row(row: LayerType, counts: Mapping[str, str]) -> str:
    """The page's line of a layer type with bottoms."""
    runs = has_module(row.name)
    spec = probe(row)
    others = [parse_net(OTHER_TEXTS[row.name])] if row.name in OTHER_TEXTS else []
    able = {dialect for text in (spec, *others) for dialect in written_in(text)}
    held = [dialect for dialect in DIALECTS if dialect in able]
    dialects = "all" if held == DIALECTS else "no single fork" if not held else ", ".join(held)
    onnx = row.name in TABLE or row.affine
    cells = [row.v1 or "-", mark(runs), mark(runs and trains(spec)), dialects, mark(onnx), counts.get(row.name, "-")]
    return f"| `{row.name}` | {' | '.join(cells)} |"


def page() -> str:
    """The whole page."""
    counts = recorded()
    ours = [row for row in layer_types() if row.options.__module__.startswith("prototxt_import.")]
    rows = sorted(ours, key=lambda row: row.name.lower())
    lines = [
        "# What is supported",
        "",
        "Written by `make tables`; do not edit. What each fact rests on stands in [conformance.md](conformance.md).",
        "",
        "## Families of nets",
        "",
        "Their own files load and run. `auto` finds the dialect out and says what told it; `--dialect NAME` decides.",
        "",
        "| family | dialect | told by, or brings |",
        "| --- | --- | --- |",
        *(f"| {family} | {dialect} | {brings} |" for family, dialect, brings in FAMILIES),
        "",
        "## Layers that compute",
        "",
        "`runs`: a module computes it on CPU and GPU. `trains`: gradients pass. `written in`: the dialects in which",
        "`deeplab convert` and `export` write it; a net that no single one holds is written as their union. `ONNX`:",
        "`deeplab export --onnx`, in phase TEST. `recorded`: outputs of the real forks that ours are held against,",
        "beyond whole nets, in which most types occur.",
        "",
        "| type | V1 name | runs | trains | written in | ONNX | recorded |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(layer_row(row, counts) for row in rows if not row.data),
        "",
        "## Layers that read data",
        "",
        "`fed`: `deeplab train`, `eval` and `run` feed it from its files. The others are inputs of the net: their",
        "shapes are read where the file tells them, and what is given by hand is taken.",
        "",
        "| type | V1 name | fed | recorded |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{row.name}` | {row.v1 or '-'} | {mark(bool(reader_of(row.name)))} | {counts.get(row.name, '-')} |"
            for row in rows
            if row.data
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or hold it against what would be written."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.relative_to(ROOT)} is not what the tables say; type: make tables")


if __name__ == "__main__":
    main()
