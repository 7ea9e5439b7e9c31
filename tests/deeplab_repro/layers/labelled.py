"""Random scores with labels, some of which do not count."""

import torch


def scores_and_labels(rng, ignored: int = 255):
    scores = torch.randn(2, 5, 3, 4, generator=rng, dtype=torch.float64)
    label = torch.randint(0, 5, (2, 1, 3, 4), generator=rng).double()
    label[0, 0, 0] = ignored
    return scores, label
