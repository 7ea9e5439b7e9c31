"""VGG nets that can be trained from nothing: batch normalisation behind every convolution that a ReLU follows."""

from __future__ import annotations

from dataclasses import replace

from prototxt_import import LayerSpec, NetSpec, ParamSpec, layer, make_net

# Of the running mean and variance, which a short training has to keep up with; BVLC Caffe's default is 0.999.
MOVING_AVERAGE_FRACTION = 0.99


def normalised(spec: NetSpec) -> NetSpec:
    """Put a BatchNorm and a Scale layer, both in place, between each convolution and the ReLU on its top.

    They are named <convolution>_bn and <convolution>_scale. Those convolutions lose their bias, for which the scale's
    stands in, and classifiers, which no ReLU follows, stay. In phase TRAIN the statistics are the batch's, as in BVLC
    Caffe. `plain.plain_net` is the way back. Not of the papers, whose nets begin from ImageNet's: it takes the place
    of those weights where there are none.

    Args:
        spec: The net.

    Returns:
        The net with those layers.

    Raises:
        CaffeFormatError: The net is of the v1 dialect, which has neither layer.
    """
    activated = {
        original.bottoms[0] for original in spec.layers if original.type == "ReLU" and original.bottoms == original.tops
    }
    layers: list[LayerSpec] = []
    for original in spec.layers:
        if original.type != "Convolution" or original.tops[0] not in activated:
            layers.append(original)
            continue
        bare = replace(original, params=original.params[:1], options=replace(original.options, bias_term=False))
        blob = list(original.tops)
        layers += [
            bare,
            layer(
                "BatchNorm",
                f"{original.name}_bn",
                blob,
                blob,
                params=[ParamSpec(lr_mult=0, decay_mult=0)] * 3,
                use_global_stats=spec.phase == "TEST",
                moving_average_fraction=MOVING_AVERAGE_FRACTION,
            ),
            layer(
                "Scale",
                f"{original.name}_scale",
                blob,
                blob,
                params=[ParamSpec(lr_mult=original.params[0].lr_mult, decay_mult=0)] * 2,
                bias_term=True,
            ),
        ]
    return make_net(spec.name, spec.inputs, layers, spec.phase, spec.dialect)
