"""`deeplab crf`: refine stored scores."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplab_repro.cli.options import Device, DeviceOption

if TYPE_CHECKING:
    import numpy as np

_IMAGE, _BINARY, _ARRAYS = (".png",), (".bin",), (".npy", ".mat")


class Normalization(StrEnum):
    """Where a kernel's filtered ones are divided out."""

    no = "no"
    before = "before"
    after = "after"
    symmetric = "symmetric"


def crf(
    image: Annotated[Path, typer.Argument(metavar="IMG", help="The image: .ppm, .png, .jpg ...", show_default=False)],
    scores: Annotated[
        Path,
        typer.Option("--scores", metavar="FILE", help=".npy, .npz, .mat (logits) or .bin (probabilities)."),
    ],
    output: Annotated[
        list[Path], typer.Option("-o", "--output", metavar="FILE", help=".png, .bin, .npy, .mat; may be repeated.")
    ],
    iterations: Annotated[int, typer.Option("--iterations", min=0, help="Of mean field.")] = 10,
    gaussian_weight: Annotated[float, typer.Option("--gaussian-weight", help="Of the smoothness kernel, or 0.")] = 3,
    gaussian_xy_std: Annotated[float, typer.Option("--gaussian-xy-std", help="Its reach, pixels.")] = 3,
    bilateral_weight: Annotated[float, typer.Option("--bilateral-weight", help="Of the appearance kernel, or 0.")] = 4,
    bilateral_xy_std: Annotated[float, typer.Option("--bilateral-xy-std", help="Its reach, pixels.")] = 121,
    bilateral_rgb_std: Annotated[float, typer.Option("--bilateral-rgb-std", help="Its reach in colour, of 255.")] = 5,
    normalization: Annotated[
        Normalization, typer.Option("--normalization", help="after: DeepLab's; symmetric: pydensecrf's.")
    ] = Normalization.after,
    probabilities: Annotated[
        bool | None,
        typer.Option(
            "--probabilities/--logits",
            help="What the scores are, where not as the format says.",
            show_default="by the format",
        ),
    ] = None,
    device: DeviceOption = Device.auto,
) -> None:
    """Refine stored scores by the dense CRF, in the original pipeline's formats.

    Scores: .npy or .npz [L, H, W]; .mat with the variable data, [W, H, L] single, as Caffe's MatWrite leaves it (the
    part beyond the image, which is padding, is cut off); .bin with three int32 (rows, columns, labels) and float32
    probabilities column by column. Other sizes than the image's are refused.

    Output by suffix: .png the label map with the VOC palette; .bin the label map as int16, as the original program
    writes it; .npy and .mat the marginals.

    [dim]deeplab crf 2007_000033.ppm --scores 2007_000033_blob_0.mat --bilateral-xy-std 65 -o 2007_000033.png[/dim]
    """
    for target in output:
        if target.suffix.lower() not in (*_IMAGE, *_BINARY, *_ARRAYS):
            raise ValueError(f"{target}: the result is written as {', '.join((*_IMAGE, *_BINARY, *_ARRAYS))}")

    from deeplab_repro.files import check_output_file
    from deeplab_repro.formats import read_scores
    from deeplab_repro.images import read_image

    for target in output:
        check_output_file(target)
    pixels = read_image(image)
    logits = read_scores(scores, probabilities).cropped(*pixels.shape[:2]).logits()

    import torch

    from deeplab_repro.crf import CRFParams, DenseCRF
    from deeplab_repro.resolve import pick_device

    params = CRFParams(
        iterations=iterations,
        gaussian_weight=gaussian_weight,
        gaussian_xy_std=gaussian_xy_std,
        bilateral_weight=bilateral_weight,
        bilateral_xy_std=bilateral_xy_std,
        bilateral_rgb_std=bilateral_rgb_std,
        normalization=normalization.value,
    )
    where = pick_device(device)
    with torch.no_grad():
        marginals = DenseCRF(params)(torch.from_numpy(pixels).to(where), torch.from_numpy(logits).to(where))
    for target in output:
        _write(marginals.float().cpu().numpy(), target)


def _write(marginals: np.ndarray, target: Path) -> None:
    import numpy as np

    from deeplab_repro.formats import write_bin, write_mat, write_npy
    from deeplab_repro.palette import save_label_png

    suffix = target.suffix.lower()
    labels = marginals.argmax(0)
    if suffix in _IMAGE:
        save_label_png(labels, target)
    elif suffix in _BINARY:
        write_bin(labels.astype(np.int16), target)
    elif suffix == ".mat":
        write_mat(marginals, target)
    else:
        write_npy(marginals, target)
