"""What the CRF gains on photographs, with scores made by blurring and subsampling the truth."""

import cv2
import numpy as np
import pytest
import torch

from deeplab_repro import ConfusionMatrix, CRFParams, DenseCRF
from deeplab_repro.evaluate.metrics import trimap_band
from deeplab_repro.files.images import read_image, read_labels
from tests.paths import SHARED

VOC = SHARED / "voc_sample"
LABELS, STRIDE, WIDTHS = 21, 8, (2, 5, 10)


def blurred(truth: np.ndarray, blur: float = 24, sharpness: float = 6) -> torch.Tensor:
    """Logits [L, H, W] as a network of stride 8 gives them: right inside large objects, washed out elsewhere.

    Void counts as its surroundings."""
    known = truth != 255
    planes = np.zeros((LABELS, *truth.shape), np.float32)
    planes[truth[known], *np.nonzero(known)] = 1
    planes = np.stack([cv2.GaussianBlur(plane, (0, 0), blur) for plane in planes])
    planes /= planes.sum(0) + 1e-9
    rows, columns = (np.linspace(0, size - 1, (size - 1) // STRIDE + 1).round().astype(int) for size in truth.shape)
    low = sharpness * np.log(np.maximum(planes[:, rows][:, :, columns], 1e-3))
    return torch.nn.functional.interpolate(
        torch.from_numpy(low)[None], truth.shape, mode="bilinear", align_corners=True
    )[0]


class Figures:
    """Mean IoU over whole images, and the share of wrong pixels in the bands around void."""

    def __init__(self) -> None:
        self.whole = ConfusionMatrix(LABELS)
        self.bands = {width: ConfusionMatrix(LABELS) for width in WIDTHS}

    def update(self, scores: torch.Tensor, truth: np.ndarray) -> None:
        labels = scores.argmax(0).numpy()
        self.whole.update(labels, truth)
        for width, confusion in self.bands.items():
            band = trimap_band(truth, width)
            confusion.update(labels[band], truth[band])

    def all(self) -> list[float]:
        return [self.whole.miou(), *(1 - confusion.pixel_accuracy() for confusion in self.bands.values())]


# Mean IoU, then the errors in the bands of 2, 5 and 10 pixels.
BEFORE = (0.8446, 0.3198, 0.2394, 0.1566)
AFTER = {
    "v2_resnet101": (0.8525, 0.2638, 0.1950, 0.1287),
    "v2_resnet101_prototxt": (0.8597, 0.2736, 0.2043, 0.1351),
}


@pytest.mark.slow
@pytest.mark.skipif(not VOC.exists(), reason="needs ../shared/voc_sample")
@pytest.mark.timeout(900)
def test_crf_raises_mean_iou_and_lowers_the_trimap_error() -> None:
    before, after = Figures(), {preset: Figures() for preset in AFTER}
    names = sorted(path.stem for path in (VOC / "JPEGImages").glob("*.jpg"))
    assert len(names) == 30
    for name in names:
        image = torch.from_numpy(read_image(VOC / "JPEGImages" / f"{name}.jpg"))
        truth = read_labels(VOC / "SegmentationClass" / f"{name}.png")
        scores = blurred(truth)
        before.update(scores, truth)
        for preset, figures in after.items():
            figures.update(DenseCRF(CRFParams.preset(preset))(image, scores), truth)
    # Near ties between labels fall to rounding.
    assert before.all() == pytest.approx(BEFORE, abs=1e-3)
    for preset, figures in after.items():
        assert figures.all() == pytest.approx(AFTER[preset], abs=1e-3), preset
        assert figures.all()[0] > before.all()[0]
        assert all(a < b for a, b in zip(figures.all()[1:], before.all()[1:], strict=True))
