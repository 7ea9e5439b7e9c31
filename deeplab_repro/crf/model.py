"""The fully connected CRF of Kraehenbuehl and Koltun (2011) as DeepLab uses it."""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deeplab_repro import ops
from deeplab_repro.crf.doubts import warn_of_inputs
from deeplab_repro.crf.features import PermutohedralLattice, bilateral_features, position_features
from deeplab_repro.crf.params import CRFParams, symmetrized
from deeplab_repro.crf.trace import Trace, trace_meanfield

__all__ = ["CRFParams", "DenseCRF", "PermutohedralLattice"]


class Problem(NamedTuple):
    """What a batch of images asks of the mean field; the arguments of `ops.meanfield`.

    Attributes:
        unary: Energies [B, L, P].
        features: One tensor [B or 1, P, d] per kernel.
        weights: One number per kernel.
        compatibility: The energy between labels, [L] or [L, L], or None for Potts.

    Example:
        >>> import torch
        >>> from deeplab_repro import DenseCRF
        >>> problem = DenseCRF().problem(torch.zeros(4, 5, 3, dtype=torch.uint8), torch.rand(3, 4, 5))
        >>> list(problem.unary.shape), problem.weights
        ([1, 3, 20], [3.0, 4.0])
    """

    unary: Tensor  # [B, L, P]
    features: list[Tensor]  # each [B or 1, P, d]
    weights: list[float] | Tensor
    compatibility: Tensor | None


class DenseCRF(nn.Module):
    """Refine label scores with a fully connected CRF: `crf(image, scores)` gives marginals.

    The module is differentiable in the scores and in a compatibility that requires it; `LearnableCRF` holds its
    parameters.

    Args:
        params: The kernels' parameters; None for the defaults of `CRFParams`.
        method: "lattice" as the original; "exact" sums over all pairs of pixels, without the lattice's own error and
            without gradients, in time that grows with the square of their number.
        prune: Labels whose start softmax(scores) nowhere exceeds this probability are left out of an image's mean field
            and get 0, which saves time where few of many labels occur; which ones depends on the image.
        skip_below: "exact" leaves out pairs of pixel blocks whose weights all lie below this; `error_bound` [N] then
            bounds what that did to any marginal of an image in the last call.
        storage: "float16" keeps the lattice's values in half precision, on CUDA and for float32 scores; "same" keeps
            them in the scores' own (`ops.meanfield`).

    Raises:
        ValueError: A method or storage is unknown or does not go with the other, or a number lies outside 0..1.

    Source:
        DeepLab v1 section 4.2 and v2 section 3.3; arithmetic of the original densecrf program.

    Example:
        >>> import torch
        >>> from deeplab_repro import CRFParams, DenseCRF
        >>> image = torch.randint(256, (20, 30, 3), dtype=torch.uint8)
        >>> q = DenseCRF(CRFParams(iterations=2))(image, torch.randn(21, 20, 30))
        >>> q.shape, torch.allclose(q.sum(0), torch.ones(20, 30))
        (torch.Size([21, 20, 30]), True)
    """

    METHODS: ClassVar[tuple[str, ...]] = ("lattice", "exact")
    # Whether inputs that are likely meant otherwise are warned of; who has checked them sets it to False.
    warns: bool = True
    STORAGES: ClassVar[tuple[str, ...]] = ("same", "float16")

    def __init__(
        self,
        params: CRFParams | None = None,
        method: str = "lattice",
        prune: float = 0.0,
        skip_below: float = 0.0,
        storage: str = "same",
    ) -> None:
        super().__init__()
        if method not in self.METHODS:
            raise ValueError(f"DenseCRF: method must be one of {', '.join(self.METHODS)}, got {method!r}")
        if not 0 <= prune < 1:
            raise ValueError(f"DenseCRF: prune must lie in 0..1, 1 left out, got {prune}")
        self.params = params if params is not None else CRFParams()
        self.method = method
        if not 0 <= skip_below < 1:
            raise ValueError(f"DenseCRF: skip_below must lie in 0..1, 1 left out, got {skip_below}")
        if storage not in self.STORAGES:
            raise ValueError(f"DenseCRF: storage must be one of {', '.join(self.STORAGES)}, got {storage!r}")
        if storage != "same" and method != "lattice":
            raise ValueError(f"DenseCRF: storage {storage!r} is the lattice's, not of method {method!r}")
        self.storage = storage
        self.prune = prune
        self.skip_below = skip_below
        self.error_bound: Tensor | None = None

    def extra_repr(self) -> str:
        """What `print` shows between the module's brackets.

        Returns:
            Parameters, method and pruning.
        """
        return f"{self.params}, method={self.method!r}, prune={self.prune:g}"

    def forward(self, image: Tensor, scores: Tensor) -> Tensor:
        """Refine scores.

        Args:
            image: [H, W, 3] or [N, H, W, 3] RGB, values 0..255 (uint8 or floating point); uint8 also [3, H, W] or
                [N, 3, H, W], where the sizes fit no other reading. Arrays are taken as well.
            scores: [L, H, W] or [N, L, H, W] logits, float32 or float64; the unary energy is -scores. `crf/unary.py`
                makes them of probabilities or labels. Arrays are taken as well.

        Returns:
            Marginals of the shape and dtype of `scores`.

        Raises:
            ValueError: The sizes do not belong together, or the scores have another dtype.
            RuntimeError: Pixels are not finite.
        """
        problem = self.problem(image, scores)
        marginals = infer_pruned(self.infer, self.prune, *problem) if self.prune else self.infer(*problem)
        return marginals.reshape(scores.shape)

    def trace(self, image: Tensor, scores: Tensor) -> Trace:
        """Refine scores and follow the course of the mean field, of all labels, without gradient.

        Args:
            image: As in `forward`.
            scores: As in `forward`.

        Returns:
            Marginals with the free energy and the largest change at each iteration.

        Raises:
            ValueError: The method is another than "lattice", and as `forward` does.
        """
        if self.method != "lattice":
            raise ValueError(f"DenseCRF: trace follows the lattice's mean field, not method {self.method!r}")
        traced = trace_meanfield(*self.problem(image, scores), self.params.normalization, self.params.iterations)
        if len(scores.shape) == 3:
            traced = Trace(*(of_batch[0] for of_batch in traced))
        return traced._replace(marginals=traced.marginals.reshape(scores.shape))

    def infer(
        self, unary: Tensor, features: Sequence[Tensor], weights: Sequence[float] | Tensor, compatibility: Tensor | None
    ) -> Tensor:
        """The mean field of a `Problem`.

        Args:
            unary: Energies [B, L, P].
            features: One tensor [B or 1, P, d] per kernel.
            weights: One number per kernel.
            compatibility: The energy between labels, [L] or [L, L], or None for Potts.

        Returns:
            Marginals [B, L, P].
        """
        numbers = numbers_of(weights)
        if self.method == "exact":
            return self._infer_exact(unary, features, numbers, compatibility)
        params = self.params
        return ops.meanfield(
            unary, features, numbers, compatibility, params.normalization, params.iterations, self.storage
        )

    def _infer_exact(
        self, unary: Tensor, features: Sequence[Tensor], weights: Sequence[float], compatibility: Tensor | None
    ) -> Tensor:
        params, marginals, bounds = self.params, [], []
        for image, energies in enumerate(unary):
            own = [kernel[image % kernel.shape[0]] for kernel in features]
            order = torch.arange(energies.shape[1], device=unary.device)
            if self.skip_below and own:
                # Close in the kernel of most features is close in the others, or nearly so.
                order = ops.spatial_order(max(own, key=lambda kernel: kernel.shape[1]))
            q, bound = ops.meanfield_exact(
                energies[:, order][None],
                [kernel[order][None] for kernel in own],
                weights,
                compatibility,
                params.normalization,
                params.iterations,
                self.skip_below,
            )
            marginals.append(q[0][:, order.argsort()])
            bounds.append(bound)
        self.error_bound = torch.cat(bounds) if bounds else unary.new_zeros(0, dtype=torch.float64)
        return torch.stack(marginals) if marginals else torch.empty_like(unary)

    def problem(self, image: Tensor, scores: Tensor) -> Problem:
        """The mean field that `forward` runs on the same arguments.

        Args:
            image: As in `forward`.
            scores: As in `forward`.

        Returns:
            The arguments of `infer`.

        Raises:
            ValueError: As `forward` does.
        """
        image, scores = self._batch(image, scores)
        if self.warns:
            warn_of_inputs(image, scores)
        # A view: on the CPU the operator negates the scores as it reads them.
        return Problem(torch._neg_view(scores.flatten(2)), *self._kernels(image, scores), self._compatibility(scores))

    @staticmethod
    def _batch(image: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The arguments of `forward` as tensors [N, H, W, 3] and [N, L, H, W], checked."""
        image, scores = torch.as_tensor(image), torch.as_tensor(scores)
        if scores.dim() not in (3, 4) or image.dim() != scores.dim():
            raise ValueError(
                "DenseCRF: image must be [H, W, 3] with scores [L, H, W], or [N, H, W, 3] with [N, L, H, W]; got "
                f"{list(image.shape)} and {list(scores.shape)}"
            )
        if scores.dim() == 3:
            image, scores = image[None], scores[None]
        count, _, height, width = scores.shape
        if tuple(image.shape) != (count, height, width, 3):
            if image.dtype != torch.uint8 or tuple(image.shape) != (count, 3, height, width):
                raise ValueError(
                    f"DenseCRF: image {list(image.shape)} does not fit scores {list(scores.shape)}; "
                    f"it must be [{count}, {height}, {width}, 3]"
                )
            image = image.permute(0, 2, 3, 1)
        if scores.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"DenseCRF: scores must be float32 or float64, got {scores.dtype}")
        return image, scores

    def _kernels(self, image: Tensor, scores: Tensor) -> tuple[list[Tensor], list[float] | Tensor]:
        """Features and weight of each kernel whose weight is not 0."""
        params = self.params
        features, weights = [], []
        if params.gaussian_weight != 0:
            height, width = scores.shape[2:]
            features.append(
                position_features(height, width, params.gaussian_xy_std, dtype=scores.dtype, device=scores.device)[None]
            )
            weights.append(float(params.gaussian_weight))
        if params.bilateral_weight != 0:
            pixels = image.to(device=scores.device, dtype=scores.dtype)
            features.append(bilateral_features(pixels, params.bilateral_xy_std, params.bilateral_rgb_std))
            weights.append(float(params.bilateral_weight))
        return features, weights

    def _compatibility(self, scores: Tensor) -> Tensor | None:
        return symmetrized(self.params.compatibility, scores)


def numbers_of(weights: Sequence[float] | Tensor) -> Sequence[float]:
    """Kernel weights as the operator takes them."""
    return weights.tolist() if isinstance(weights, Tensor) else weights


def infer_pruned(
    infer: Callable[..., Tensor],
    bound: float,
    unary: Tensor,
    features: Sequence[Tensor],
    weights: Sequence[float] | Tensor,
    compatibility: Tensor | None,
) -> Tensor:
    """Run `infer` on each image's labels whose softmax of -unary exceeds `bound` at some pixel; the others get 0.

    Which labels stay depends on the image, so the result is an approximation that no bound on the marginals comes with;
    the most probable label of each pixel at the start always stays.

    Args:
        infer: Takes unary, features, weights and compatibility of one image and gives its marginals.
        bound: A probability.
        unary: As in `ops.meanfield`.
        features: As in `ops.meanfield`.
        weights: As in `ops.meanfield`.
        compatibility: As in `ops.meanfield`.

    Returns:
        Marginals [B, L, P].

    Example:
        >>> import torch
        >>> from deeplab_repro.crf.model import infer_pruned
        >>> start = lambda unary, *_: torch.softmax(-unary, 1)
        >>> infer_pruned(start, 0.1, torch.tensor([[[0.0], [9.0]]]), [], [], None)  # of two labels one is left
        tensor([[[1.],
                 [0.]]])
    """
    marginals = []
    for image, energy in enumerate(unary):
        start = torch.softmax(-energy, 0)
        highest = start.amax(1) if start.numel() else start.new_ones(len(start))
        kept = highest > bound
        kept[start.argmax(0).unique()] = True
        labels = kept.nonzero()[:, 0]
        own = [kernel[min(image, len(kernel) - 1)][None] for kernel in features]
        among = compatibility
        if among is not None:
            among = among[labels] if among.dim() == 1 else among[labels][:, labels]
        refined = infer(energy[labels][None], own, weights, among)[0]
        marginals.append(torch.zeros_like(energy).index_copy(0, labels, refined))
    return torch.stack(marginals) if marginals else torch.empty_like(unary)
