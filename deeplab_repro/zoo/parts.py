"""What the builders share: fillers, the label to ignore, and the papers' way to write a convolution."""

from __future__ import annotations

from prototxt_import import Filler, LayerSpec, ParamSpec, layer

IGNORE_LABEL = 255
# The releases start from trained nets and state no filler; this one lets a net be trained without.
HE = Filler(type="msra")
CLASSIFIER_FILLER = Filler(type="gaussian", std=0.01)


def conv(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    pad: int = 0,
    dilation: int = 1,
    stride: int = 1,
    rate: float = 1,
    filler: Filler = HE,
) -> LayerSpec:
    """A convolution as the papers' nets have it.

    Args:
        name: Of layer and top.
        bottom: The blob it reads.
        outputs: Channels.
        kernel: Taps a side.
        pad: Zeros on each side.
        dilation: The atrous rate.
        stride: Of its window.
        rate: lr_mult of its weights; the bias has twice that, and no decay.
        filler: Of its weights.

    Returns:
        The layer.
    """
    return layer(
        "Convolution",
        name,
        [bottom],
        [name],
        params=[ParamSpec(lr_mult=rate, decay_mult=1), ParamSpec(lr_mult=2 * rate, decay_mult=0)],
        num_output=outputs,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        dilation=(dilation, dilation),
        weight_filler=filler,
    )
