"""What the scenes' labels mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES = ("road", "sidewalk", "building", "fence", "pole", "sign", "vegetation", "sky", "person", "vehicle")
ROAD, SIDEWALK, BUILDING, FENCE, POLE, SIGN, VEGETATION, SKY, PERSON, VEHICLE = range(len(CLASSES))
THIN = (POLE,)  # lamp posts, sign posts
PALETTE: NDArray[np.uint8] = np.array(
    [[128, 64, 128], [222, 140, 206], [98, 92, 96], [200, 148, 92], [236, 214, 70],
     [240, 90, 40], [76, 142, 56], [102, 168, 222], [214, 24, 62], [20, 38, 160]], np.uint8)  # fmt: skip
