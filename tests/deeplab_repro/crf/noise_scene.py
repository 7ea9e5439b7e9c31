"""An image and scores of noise."""

import torch


def scene(height: int = 17, width: int = 23, labels: int = 4):
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)
    return image, torch.randn(labels, height, width, generator=generator)
