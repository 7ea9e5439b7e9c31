"""One training example as people see it: image, labels, prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.data.sets.datasets import read_classes
from deeplab_repro.files.palette import colorize, voc_palette
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.preprocessing import spec_preprocessing
from deeplab_repro.report.legend import entries, with_legend
from prototxt_import import NetSpec
from prototxt_import.layers.table import is_class_loss


@torch.no_grad()
def sample_pictures(net: CaffeNet, batch: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Draw the first item of a batch: the image, and colours of labels and prediction, each with its legend.

    Labels and scores are those of the net's first loss by class labels, nearest resized to the image. The pass for them
    leaves BatchNorm's statistics as they were.

    Args:
        net: The net.
        batch: Its inputs by blob.
        masks: Dropout masks by layer.

    Returns:
        RGB uint8 [H, W, 3] by caption, taller by the legends; nothing without such a loss over maps, or a 3-channel
        input.
    """
    image = next((value for value in batch.values() if value.dim() == 4 and value.shape[1] == 3), None)
    loss = next((layer for layer in net.spec.layers if is_class_loss(layer)), None)
    if image is None or loss is None:
        return {}
    scores_name, label_name = loss.bottoms
    with _statistics_kept(net):
        blobs = net(**batch, masks=masks, blobs=[name for name in (scores_name, label_name) if name not in batch])
    scores, label = ({**batch, **blobs}[name][0].float().cpu() for name in (scores_name, label_name))
    if scores.dim() != 3 or label.dim() != 3:
        return {}
    facts = spec_preprocessing(net.spec)
    pixels = image[0].float().cpu().permute(1, 2, 0).numpy() / facts.scale + np.array(facts.mean_bgr, np.float32)
    size = image.shape[-2:]
    return {
        "image": np.ascontiguousarray(pixels.clip(0, 255).round().astype(np.uint8)[..., ::-1]),
        "labels": _coloured(label[0].numpy(), size, net.spec),
        "prediction": _coloured(scores.argmax(0).numpy(), size, net.spec),
    }


@contextmanager
def _statistics_kept(net: CaffeNet) -> Iterator[None]:
    moving = [layer.name for layer in net.spec.layers if layer.options.from_batch(net.spec.phase)]
    blobs = [blob for name in moving for blob in net.params[name]]
    before = [blob.clone() for blob in blobs]
    yield
    for blob, values in zip(blobs, before, strict=True):
        blob.copy_(values)


def _coloured(labels: NDArray[Any], size: tuple[int, ...], spec: NetSpec) -> NDArray[Any]:
    """The labels' colours, and below them which stands for what."""
    small = labels.clip(0, 255).astype(np.uint8)
    names, palette = _classes(spec)
    picture = colorize(cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), palette)
    return with_legend(picture, entries(np.unique(small).tolist(), names, palette))


def _classes(spec: NetSpec) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
    """Names and colours of the classes, from a classes.json in the data layer's root_folder; else numbers and VOC's."""
    palette = voc_palette()
    for layer in spec.layers:
        root = getattr(layer.options, "root_folder", "")
        if root and (Path(root) / "classes.json").is_file():
            with suppress(ValueError, OSError):
                names, colours, _ = read_classes(Path(root) / "classes.json")
                if colours:
                    palette[: len(colours)] = colours
                return names, palette
    return (), palette
