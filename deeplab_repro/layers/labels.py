"""What losses and scorers share: labels as integers.

Labels are float blobs, cut down to integers as Caffe's casts do."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from deeplab_repro.layers.shares import BatchLayer
from deeplab_repro.layers.uncompiled import uncompiled


class Labelled(BatchLayer):
    """A layer that compares scores with integer labels."""

    @uncompiled  # looks at values, which a compiled graph cannot
    def labels(self, blob: Tensor, count: int, classes: int, ignored: Iterable[int] = ()) -> tuple[Tensor, Tensor]:
        """A blob of labels as integers.

        Args:
            blob: The labels.
            count: How many there must be.
            classes: Those that count are 0 to classes - 1.
            ignored: Values that do not count.

        Returns:
            The labels, int64 [count], and which of them are not ignored.

        Raises:
            ValueError: Their number differs, or one that counts is no class.
        """
        label = blob.detach().reshape(-1).to(torch.int64)
        if label.numel() != count:
            raise self.fail(f"{label.numel()} labels for {count} predictions")
        valid = torch.ones_like(label, dtype=torch.bool)
        for value in ignored:
            valid &= label != value
        outside = valid & ((label < 0) | (label >= classes))
        # A program of torch.export has no value to look at.
        if not torch.compiler.is_exporting() and bool(outside.any()):
            bad = int(label[outside][0])
            raise self.fail(
                f"label {bad} is neither a class (0 to {classes - 1}) nor ignored; `deeplab doctor` finds the files"
            )
        return label, valid
