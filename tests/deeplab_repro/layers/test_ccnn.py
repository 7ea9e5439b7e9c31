"""CCNN's dense random field against pydensecrf's names, one standard deviation for each axis and colour."""

from __future__ import annotations

import numpy as np
import torch

import deeplab_repro.compat.pydensecrf.densecrf as dcrf


def test_labels_of_ten_iterations_divided_after_the_filter(run, rng):
    # 6 x 8 points: a multiple of four, so that no zero features fill up the lattice.
    scores = torch.randn(2, 4, 6, 8, generator=rng)
    image = torch.randint(0, 256, (2, 3, 6, 8), generator=rng).float()
    options = {"x_gauss": 2.0, "y_gauss": 3.0, "wt_gauss": 1.0, "x_bilateral": 9.0, "y_bilateral": 7.0}
    options |= {"r_bilateral": 30.0, "g_bilateral": 20.0, "b_bilateral": 40.0, "wt_bilateral": 2.0}
    top = run("LabelCRF", scores, image, **options)
    for labels, x, bgr in zip(top, scores, image, strict=True):
        crf = dcrf.DenseCRF2D(8, 6, 4)
        crf.setUnaryEnergy(-x.flatten(1).numpy())
        crf.addPairwiseGaussian((2, 3), 1, normalization=dcrf.NORMALIZE_AFTER)
        rgb = np.ascontiguousarray(bgr.flip(0).permute(1, 2, 0).numpy().astype(np.uint8))
        crf.addPairwiseBilateral((9, 7), (30, 20, 40), rgb, 2, normalization=dcrf.NORMALIZE_AFTER)
        assert labels.flatten().tolist() == crf.map(10).tolist()
    # Colours are bytes: what lies outside comes round, and fractions are cut.
    assert torch.equal(run("LabelCRF", scores, image + 256.5, **options), top)
