"""Which blob of a net takes the image, which one holds its scores, and the sizes at which these two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deeplab_repro.net.graph import Graph
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.layers import is_source, lookup


def own_size(spec: NetSpec, image: str, scores: str, padded: tuple[int, int]) -> tuple[int, int] | None:
    """Look for a size at which the scores come out as large as the input, for nets where they nearly do.

    Args:
        spec: The net.
        image: The blob that takes the image.
        scores: The blob of scores.
        padded: The size (h, w) that the image has otherwise.

    Returns:
        The size (h, w); None to keep `padded`.
    """
    last = max(index for index, layer in enumerate(spec.layers) if scores in layer.tops)
    part = replace(spec, layers=spec.layers[: last + 1])

    def answer(size: tuple[int, int]) -> tuple[int, ...]:
        return tuple(part.with_inputs({image: (1, 3, *size)}).blobs[scores][2:])

    given = answer(padded)
    if len(given) != 2 or given == padded or min(side / own for side, own in zip(given, padded, strict=True)) < 0.75:
        return None
    for extra in range(1, 33):
        size = padded[0] + extra, padded[1] + extra
        if answer(size) == size:
            return size
    return None


def inputs_of(net: Graph, image: str, scores: str) -> tuple[str, ...]:
    """The inputs that the scores depend on.

    Args:
        net: The net.
        image: The input that takes the image.
        scores: The blob of scores.

    Returns:
        Their names, the image's first; besides it only a blob of true sizes [N, 1, 1, 2] will do.

    Raises:
        ValueError: There are others: an image alone does not give them.
    """
    wanted = {scores}
    for layer in reversed(net.spec.layers):
        if wanted.intersection(layer.tops) and not is_source(layer):
            wanted.difference_update(layer.tops)
            wanted.update(layer.bottoms)
    others = [name for name in net.inputs if name in wanted and name != image]
    unknown = [f"{name} {list(net.inputs[name])}" for name in others if tuple(net.inputs[name][1:]) != (1, 1, 2)]
    if unknown:
        raise ValueError(f"Segmenter: blob {scores!r} needs more than an image: {', '.join(unknown)}")
    return image, *others


def image_input(spec: NetSpec, inputs: Mapping[str, tuple[int, ...]]) -> str:
    """The input that takes the image.

    Args:
        spec: The net, for errors.
        inputs: Shapes of its inputs.

    Returns:
        "data", else the only one of four axes and three channels.

    Raises:
        ValueError: There is none, or more than one.
    """
    images = [name for name, shape in inputs.items() if len(shape) == 4 and shape[1] == 3]
    if "data" in images:
        return "data"
    if len(images) == 1:
        return images[0]
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items()) or "none"
    raise ValueError(f"net {spec.name!r}: no single input [N, 3, H, W] for an RGB image; its inputs: {shapes}")


def _only_reads(layer: LayerSpec) -> bool:
    """Whether a layer only looks at scores, so that what it reads is the net's answer."""
    row = lookup(layer.type)
    return row is not None and (row.loss or row.scorer or row.decides or row.tops == (0, 0))


def find_scores(spec: NetSpec, image: str) -> str:
    """Find the blob of scores.

    Args:
        spec: The net.
        image: The input that takes the image.

    Returns:
        The last 4-D blob computed from the image that nothing but losses, accuracies, ArgMax, Softmax or writers read.

    Raises:
        ValueError: There is none.
    """
    from_image = {image}
    answers: list[str] = []
    for layer in spec.layers:
        if _only_reads(layer):
            continue
        if not from_image.intersection(layer.bottoms):
            continue
        from_image.update(layer.tops)
        answers = [blob for blob in answers if blob not in layer.bottoms]
        answers += [top for top in layer.tops if len(spec.blobs.get(top, ())) == 4 and top not in answers]
    if not answers:
        raise ValueError(f"net {spec.name!r}: no 4-D blob of scores; name one with score_blob")
    return answers[-1]
