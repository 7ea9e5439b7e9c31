"""Segmenter: an RGB image in, its label map out, with everything that belongs to the weights applied."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.files.images import read_image
from deeplab_repro.files.palette import overlay, voc_palette
from deeplab_repro.jobs.devices import pick_device
from deeplab_repro.layers.resize import interpolate
from deeplab_repro.net.graph import Graph
from deeplab_repro.predict.blobs import find_scores, image_input, inputs_of, own_size
from deeplab_repro.predict.opening import open_model
from deeplab_repro.predict.preprocessing import Preprocessing

_OWN_CRF = "own"


# What a Segmenter takes for an image: a file's name, a Pillow picture, an array or a tensor.
ImageLike: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor"


@dataclass(frozen=True)
class Segmentation:
    """What a Segmenter finds in an image [H, W, 3].

    Args:
        labels: uint8 [H, W].
        scores: float32 [L, H, W], the network's.
        probabilities: The CRF's marginals, float32 [L, H, W], or None without one.
        palette: uint8 [256, 3], the colour of each label.
        class_names: Names of the labels; may be empty.
        image: The image, RGB uint8 [H, W, 3].

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import Segmentation
        >>> scores, image = np.zeros((2, 1, 4), np.float32), np.zeros((1, 4, 3), np.uint8)
        >>> palette = np.full((256, 3), 200, np.uint8)
        >>> labels = np.array([[0, 1, 1, 1]], np.uint8)
        >>> found = Segmentation(labels, scores, None, palette, ("sky", "road"), image)
        >>> found.shares(), found.overlay().shape
        ({1: 0.75, 0: 0.25}, (1, 4, 3))
    """

    labels: NDArray[np.uint8]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    palette: NDArray[np.uint8]
    class_names: tuple[str, ...]
    image: NDArray[np.uint8]

    def overlay(self, alpha: float = 0.5) -> NDArray[np.uint8]:
        """The labels' colours over the image.

        Args:
            alpha: Share of the colours, 0 to 1.

        Returns:
            RGB uint8 [H, W, 3].
        """
        return overlay(self.image, self.labels, alpha, self.palette)

    def shares(self) -> dict[int, float]:
        """The share of the pixels of every label that occurs.

        Returns:
            Shares by label, largest first.
        """
        labels, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(labels[i]): float(counts[i] / self.labels.size) for i in order}


class Segmenter:
    """A network bound to its mean, padding, scales and CRF parameters.

    Args:
        model: "bundled" or another that comes with the package ("animals", "streets", "scenes"), a zoo name (with
            weights), a checkpoint, a prototxt (with weights), the pair (prototxt, caffemodel), or a net, prepared or
            not.
        weights: The .caffemodel of a zoo name or prototxt.
        net: A net, in place of `model`.
        mean_bgr: What is subtracted from blue, green and red, in grey levels; None for the model's transform_param or
            record, else ImageNet's.
        scales: Relative image sizes whose scores are fused.
        fusion: "max", as the papers fuse, or "mean".
        flip: Whether each scale's scores are averaged with its mirror image's.
        crf: Other CRF parameters than the model's own; None switches the CRF off.
        score_blob: The blob of scores where the last one is not meant.
        input_size: (height, width) in pixels that every image is padded to, as the releases' test nets have it; None
            for the next 32k + 1 of each.
        device: "auto", "cpu", "cuda" or a torch device.
        variables: Values of the ${NAME}s in the prototxt.
        dialect: Of the prototxt, as for `prototxt_import.read_net`; so are level and stages.
        level: The state's level.
        stages: The state's stages.

    Raises:
        ValueError: A name is unknown or an option unfit.
        CaffeFormatError: A file is wrong.
        OSError: A file cannot be read.

    Source:
        Chen et al. 2015, section 5.1, and 2016, section 4.1 for scales and fusion.

    Example:
        >>> import numpy as np
        >>> from deeplab_repro import Segmenter
        >>> segmenter = Segmenter("bundled", crf=None)
        >>> segmenter(np.zeros((32, 48, 3), np.uint8)).labels.shape
        (32, 48)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | tuple[str | os.PathLike[str], str | os.PathLike[str]] | Graph = "bundled",
        weights: str | os.PathLike[str] | None = None,
        *,
        net: Graph | None = None,
        mean_bgr: Sequence[float] | None = None,
        scales: Sequence[float] = (1.0,),
        fusion: str = "max",
        flip: bool = False,
        crf: CRFParams | str | None = _OWN_CRF,
        score_blob: str | None = None,
        input_size: tuple[int, int] | None = None,
        device: str | torch.device = "auto",
        variables: Mapping[str, str] | None = None,
        dialect: str = "auto",
        level: int = 0,
        stages: Sequence[str] = (),
    ) -> None:
        loaded: Graph
        if net is not None or isinstance(model, Graph):
            loaded = net if net is not None else cast(Graph, model)
            facts = Preprocessing()
        else:
            if isinstance(model, tuple):
                if weights is not None or len(model) != 2:
                    raise ValueError("Segmenter: give a pair (prototxt, caffemodel), or a model and its weights")
                model, weights = model
            loaded, facts = open_model(model, weights, variables, dialect, level, stages)
        if not scales or min(scales) <= 0 or not all(map(math.isfinite, scales)):
            raise ValueError(f"Segmenter: scales must be positive numbers, got {list(scales)}")
        if fusion not in ("max", "mean"):
            raise ValueError(f"Segmenter: fusion must be 'max' or 'mean', got {fusion!r}")
        if isinstance(crf, str) and crf != _OWN_CRF:
            raise ValueError(f"Segmenter: crf must be CRFParams or None, got {crf!r}")
        mean = facts.mean_bgr if mean_bgr is None else tuple(map(float, mean_bgr))
        if len(mean) != 3:
            raise ValueError(f"Segmenter: mean_bgr needs 3 values (blue, green, red), got {len(mean)}")
        self.device = pick_device(device)
        self.net = loaded.to(self.device)
        self.mean_bgr = mean
        self.scale = facts.scale
        self.scales = tuple(map(float, scales))
        self.fusion = fusion
        self.flip = flip
        self.input_size = input_size
        self.crf = facts.crf if isinstance(crf, str) else crf
        self.class_names = facts.class_names
        self.palette = voc_palette()
        if facts.palette:
            self.palette[: len(facts.palette)] = facts.palette
        self.image_blob = image_input(self.net.spec, self.net.inputs)
        self.score_blob = score_blob or find_scores(self.net.spec, self.image_blob)
        if self.score_blob not in self.net.spec.blobs:
            raise ValueError(f"Segmenter: the net has no blob {self.score_blob!r}")
        self._inputs = inputs_of(self.net, self.image_blob, self.score_blob)
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}

    def to(self, device: str | torch.device) -> Segmenter:
        """Move the network to a device.

        Args:
            device: "auto", "cpu", "cuda" or a torch device.

        Returns:
            This segmenter.

        Raises:
            ValueError: There is no such device.
        """
        self.device = pick_device(device)
        self.net = self.net.to(self.device)
        return self

    def __call__(self, image: ImageLike) -> Segmentation:
        """Segment an image.

        Args:
            image: RGB of any size: uint8 [H, W, 3] as array or tensor (a tensor also [3, H, W]), grey or with an alpha
                channel, which does not count; floats of 0..255, or with a warning of 0..1; a Pillow picture of any
                8-bit mode, or a file's name; the latter two are turned by their EXIF orientation.

        Returns:
            Labels, scores and, with a CRF, probabilities.

        Raises:
            ValueError: The image is anything else.
        """
        image = _checked(image)
        with torch.no_grad():
            scores = self._all_scores(image)
            if scores.shape[0] > 256:
                raise ValueError(f"Segmenter: {scores.shape[0]} classes do not fit a uint8 label map (256)")
            marginals = None
            if self.crf is not None:
                marginals = DenseCRF(self.crf)(torch.from_numpy(image).to(self.device), scores)
            labels = (scores if marginals is None else marginals).argmax(0).to(torch.uint8)
        return Segmentation(
            labels.cpu().numpy(),
            scores.float().cpu().numpy(),
            None if marginals is None else marginals.float().cpu().numpy(),
            self.palette,
            self.class_names,
            image,
        )

    def scores(self, image: ImageLike) -> NDArray[np.float32]:
        """The network's scores of an image, without the CRF.

        Args:
            image: As in a call.

        Returns:
            float32 [L, H, W].

        Raises:
            ValueError: The image is anything else.
        """
        with torch.no_grad():
            return self._all_scores(_checked(image)).float().cpu().numpy()

    def _all_scores(self, image: NDArray[np.uint8]) -> Tensor:
        """Scores [L, H, W], fused over scales and mirror images."""
        height, width = image.shape[:2]
        fused: Tensor | None = None
        for scale in self.scales:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            try:
                scaled = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            except cv2.error as error:
                raise ValueError(f"Segmenter: no image of {height} x {width} pixels at scale {scale:g}") from error
            scaled = cast("NDArray[np.uint8]", scaled)
            scores = self._scores(scaled)
            if self.flip:
                scores = (scores + self._scores(np.ascontiguousarray(scaled[:, ::-1])).flip(-1)) / 2
            scores = interpolate(scores[None], height, width)[0]
            if fused is None:
                fused = scores
            else:
                fused = torch.maximum(fused, scores) if self.fusion == "max" else fused + scores
        assert fused is not None
        return fused / len(self.scales) if self.fusion == "mean" else fused

    def _scores(self, image: NDArray[np.uint8]) -> Tensor:
        """Scores [L, H, W] of one image at its own size."""
        height, width = image.shape[:2]
        padded = self.padded_size(height, width)
        x = torch.zeros(1, 3, *padded)
        mean = torch.tensor(self.mean_bgr)
        # Padding with the mean is zero once the mean is subtracted.
        x[0, :, :height, :width] = (torch.from_numpy(image).flip(-1) - mean).permute(2, 0, 1) * self.scale
        feed = {self.image_blob: x.to(self.device)}
        for name in self._inputs[1:]:
            feed[name] = torch.tensor([height, width], dtype=torch.float32, device=self.device).reshape(1, 1, 1, 2)
        scores = self.net(**feed, blobs=[self.score_blob])[self.score_blob]
        if scores.dim() != 4 or scores.shape[0] != 1:
            raise ValueError(f"Segmenter: blob {self.score_blob!r} is {list(scores.shape)}, not scores [1, L, h, w]")
        return interpolate(scores, *padded)[0, :, :height, :width]

    def fingerprint(self) -> str:
        """What the scores of an image depend on but for size: the layers, their weights, mean and scale.

        Returns:
            A sha256 of it, in hexadecimal digits.
        """
        layers = [replace(layer, line=None) for layer in self.net.spec.layers]
        facts = (layers, self.image_blob, self.score_blob, self.mean_bgr, self.scale)
        digest = hashlib.sha256(repr(facts).encode())
        for blobs in self.net.params.values():
            for blob in blobs:
                digest.update(blob.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The input size an image is padded to: `input_size`, else the next 32k + 1 on each axis.

        A net that upsamples its own scores but not to that size (the v1 'noup' test net wants 8k + 2) gets the next
        size at which its scores do have its input's size.

        Args:
            height: Of the image, in pixels.
            width: Of the image, in pixels.

        Returns:
            (height, width) in pixels.

        Raises:
            ValueError: The image is larger than `input_size`.
        """
        if self.input_size is not None:
            if height > self.input_size[0] or width > self.input_size[1]:
                own, given = (" x ".join(map(str, size)) for size in (self.input_size, (height, width)))
                raise ValueError(
                    f"Segmenter: an image of {given} pixels does not fit the input size {own}; give a larger one"
                )
            return self.input_size
        if (height, width) not in self._sizes:
            padded = _next_size(height), _next_size(width)
            self._sizes[height, width] = own_size(self.net.spec, self.image_blob, self.score_blob, padded) or padded
        return self._sizes[height, width]


def _checked(image: ImageLike) -> NDArray[np.uint8]:
    """The pixels of whatever a call was given, RGB uint8 [H, W, 3]."""
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            raise ValueError(f"Segmenter: an image is RGB of 0..255, this picture is of mode {image.mode}")
        # Turned by EXIF as files are, which OpenCV reads.
        image = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        if image.dim() == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
            image = image.permute(1, 2, 0)
        image = image.numpy()
    image = np.asarray(image)
    if np.issubdtype(image.dtype, np.floating):
        image = _whole(image)
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2:] == (1,)):
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, 2)  # grey
    if image.dtype == np.uint8 and image.shape[2:] == (4,):
        image = image[..., :3]  # what is transparent counts as what it would show
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"Segmenter: an image is RGB uint8 [H, W, 3] of 0..255, got {image.dtype} {list(image.shape)}")
    if not image.size:
        raise ValueError(f"Segmenter: the image is empty, of shape {list(image.shape)}")
    # torch warns of memory that cannot be written, and takes no negative strides.
    return image if image.flags.writeable and min(image.strides) > 0 else image.copy()


def _whole(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Numbers of 0..255, or with a warning of 0..1, as bytes."""
    least, most = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if not (least >= 0 and most <= 255):
        raise ValueError(f"Segmenter: an image is of 0..255, this one of {least:g} to {most:g}")
    if 0 < most <= 1:
        warnings.warn("Segmenter: the image is of 0..1 and is taken times 255; give one of 0..255", stacklevel=4)
        image = image * 255
    return np.rint(image).astype(np.uint8)


def _next_size(size: int) -> int:
    return 32 * max(1, math.ceil((size - 1) / 32)) + 1
