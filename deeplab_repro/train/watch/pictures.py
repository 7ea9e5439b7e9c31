"""One training example as people see it: image, labels, prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeplab_repro.files.palette import colorize
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.predict.preprocessing import spec_preprocessing
from prototxt_import.layers.table import is_class_loss


@torch.no_grad()
def sample_pictures(net: CaffeNet, batch: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Draw the first item of a batch: the image, and colours of labels and prediction.

    Labels and scores are those of the net's first loss by class labels, nearest resized to the image. The pass for them
    leaves BatchNorm's statistics as they were.

    Args:
        net: The net.
        batch: Its inputs by blob.
        masks: Dropout masks by layer.

    Returns:
        RGB uint8 [H, W, 3] by caption; nothing without such a loss over maps, or a 3-channel input.
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
        "labels": _coloured(label[0].numpy(), size),
        "prediction": _coloured(scores.argmax(0).numpy(), size),
    }


@contextmanager
def _statistics_kept(net: CaffeNet) -> Iterator[None]:
    moving = [layer.name for layer in net.spec.layers if layer.options.from_batch(net.spec.phase)]
    blobs = [blob for name in moving for blob in net.params[name]]
    before = [blob.clone() for blob in blobs]
    yield
    for blob, values in zip(blobs, before, strict=True):
        blob.copy_(values)


def _coloured(labels: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    small = labels.clip(0, 255).astype(np.uint8)
    return colorize(cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_NEAREST))
