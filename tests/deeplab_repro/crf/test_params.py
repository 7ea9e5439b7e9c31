"""Parameters of the dense CRF."""

import pytest
import torch

from deeplab_repro import CRFParams, DenseCRF
from tests.deeplab_repro.crf.noise_scene import scene


def test_a_matrix_is_symmetrised() -> None:
    image, scores = scene()
    matrix = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    a = DenseCRF(CRFParams(iterations=2, compatibility=matrix))(image, scores)
    b = DenseCRF(CRFParams(iterations=2, compatibility=(matrix + matrix.T) / 2))(image, scores)
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", -1),
        ("iterations", 2.5),
        ("normalization", "off"),
        ("gaussian_xy_std", 0.0),
        ("bilateral_rgb_std", float("nan")),
        ("bilateral_weight", float("inf")),
        ("compatibility", torch.zeros(2, 3)),
    ],
)
def test_bad_parameters_name_the_field(field: str, value) -> None:
    with pytest.raises(ValueError, match=field):
        CRFParams(**{field: value})
