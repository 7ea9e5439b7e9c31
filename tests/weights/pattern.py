"""What the bundled models see in a drawn pattern, as committed: python -m tests.weights.pattern records it anew."""

import json

import numpy as np

from deeplab_repro.predict.preprocessing import MODELS
from deeplab_repro.predict.segmenter import Segmenter
from tests.paths import GOLDEN

RECORDED = GOLDEN / "models" / "pattern_scores.json"
# Pixels between the scores that are kept: what stands between them is interpolated.
STEP = 16


def pattern(height: int = 65, width: int = 97) -> np.ndarray:
    """An RGB image of stripes, curves and a chequered plane, by whole numbers alone."""
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x + 5 * y, x * y // 7, 255 * ((x // 16 + y // 16) % 2)], axis=-1).astype(np.uint8)


def kept_scores(model: str) -> np.ndarray:
    """(classes, rows, columns) of a bundled model's scores of the pattern, one every STEP pixels."""
    return Segmenter(model, crf=None, device="cpu").scores(pattern())[:, ::STEP, ::STEP]


if __name__ == "__main__":
    lines = (f'"{name}": {json.dumps(np.round(kept_scores(name).astype(float), 5).tolist())}' for name in MODELS)
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
