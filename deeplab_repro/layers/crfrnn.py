"""CRF-RNN's mean field with learned kernel weights and compatibility."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_repro.crf.features import bilateral_features, position_features
from deeplab_repro.layers.base import CaffeLayer, module
from deeplab_repro.layers.crf import Kernel
from prototxt_import import CaffeFormatError, LayerSpec, NetSpec
from prototxt_import.paths import named_file

MAX_FILE = 2**20  # characters of a file that holds one number per label


@module("MultiStageMeanfield")
class MultiStageMeanfield(CaffeLayer):
    """Scores U - M (Ws S + Wb B) of the last iteration; S and B are the filtered softmax of the iteration before.

    Blobs `spatial` Ws, `bilateral` Wb and `compatibility` M, [1, 1, L, L] each. Exact gradients to U, to the first
    scores and to the blobs, the lattices held constant; none to the image, as in Caffe.
    Deviations: gradients of the blobs accumulate; without stored weights the kernels begin with the diagonals that the
    first release meant, whose reader scrambled the numbers."""

    spatial: Tensor
    bilateral: Tensor
    compatibility: Tensor

    def __init__(self, layer: LayerSpec, spec: NetSpec) -> None:
        super().__init__(layer, spec)
        for name in ("spatial", "bilateral", "compatibility"):
            self.add_blob(name)
        self._source, self._trusted = spec.source, tuple(spec.variables.values())

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        labels = self.spatial.shape[-1]
        given = self.options.diagonals(labels)
        with torch.no_grad():
            for blob, numbers, name in zip(self.blobs(), given, ("spatial", "bilateral"), strict=False):
                blob.copy_(torch.diag(torch.tensor(numbers or self._begin(name, labels))))
            self.compatibility.copy_(-torch.eye(labels))

    def _begin(self, name: str, labels: int) -> list[float]:
        """The diagonal of a kernel for which no string is given: out of NAME.par where there is one."""
        plain = [getattr(self.options, f"{name}_filter_weight")] * labels
        if not self._source:
            return plain
        try:
            path = named_file(f"{name}.par", self._source, self._trusted)
        except CaffeFormatError:
            return plain
        try:
            with path.open(encoding="ascii") as file:
                numbers = [float(word) for word in file.read(MAX_FILE).split()[:labels]]
        except (OSError, ValueError) as error:
            raise self.fail(f"{path}: {error}") from error
        if len(numbers) < labels:
            raise self.fail(f"{path} has {len(numbers)} numbers for {labels} labels")
        return numbers

    def forward(self, unary: Tensor, first: Tensor, image: Tensor) -> Tensor:
        o = self.options
        height, width = unary.shape[2:]
        position = position_features(height, width, o.theta_gamma, dtype=unary.dtype, device=unary.device)
        pixels = image.detach().to(unary.dtype).permute(0, 2, 3, 1)
        color = bilateral_features(pixels, o.theta_alpha, o.theta_beta)
        spatial = Kernel(position, 1.0)
        tops = [self._refine(unary[i], first[i], spatial, Kernel(color[i], 1.0)) for i in range(unary.shape[0])]
        return torch.stack(tops) if tops else unary * 1

    def _refine(self, unary: Tensor, first: Tensor, spatial: Kernel, bilateral: Kernel) -> Tensor:
        """One item: unary and first scores [L, H, W]."""
        matrices = [blob[0, 0].t() for blob in self.blobs()]
        energy = unary.flatten(1).t()
        scores = first.flatten(1).t()
        for _ in range(self.options.num_iterations):
            q = scores.softmax(1).contiguous()
            message = spatial(q) @ matrices[0] + bilateral(q) @ matrices[1]
            scores = energy - message @ matrices[2]
        return scores.t().reshape(unary.shape)
