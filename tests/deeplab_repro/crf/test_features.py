"""What the kernels see of a pixel, and in which order."""

import torch

from deeplab_repro import CRFParams, DenseCRF
from deeplab_repro.crf.features import bilateral_features, position_features


def test_a_pixel_is_its_column_row_and_raw_colours_divided_in_single_precision() -> None:
    image = torch.randint(0, 256, (1, 3, 4, 3), generator=torch.Generator().manual_seed(1)).float()
    positions = position_features(3, 4, 7.0, dtype=torch.float32, device=torch.device("cpu"))
    features = bilateral_features(image, 7.0, 13.0)[0]
    for i in range(12):
        x, y = torch.tensor([float(i % 4), float(i // 4)])
        assert positions[i].tolist() == [(x / 7).item(), (y / 7).item()]
        assert features[i].tolist() == [*positions[i].tolist(), *(image[0, i // 4, i % 4] / 13).tolist()]


def test_the_gaussian_kernel_comes_before_the_bilateral() -> None:
    image = torch.zeros(3, 4, 3, dtype=torch.uint8)
    problem = DenseCRF(CRFParams(gaussian_weight=2, bilateral_weight=5)).problem(image, torch.rand(2, 3, 4))
    assert [kernel.shape[-1] for kernel in problem.features] == [2, 5]
    assert problem.weights == [2, 5]


def test_channel_order_changes_the_result_a_little() -> None:
    generator = torch.Generator().manual_seed(4)
    image = torch.randint(0, 256, (9, 11, 3), dtype=torch.uint8, generator=generator)
    scores = torch.randn(3, 9, 11, generator=generator)
    crf = DenseCRF(CRFParams(3, bilateral_rgb_std=60.0))
    rgb, bgr = crf(image, scores), crf(image.flip(-1), scores)
    assert not torch.equal(rgb, bgr)
    assert (rgb - bgr).abs().mean() < 0.05
