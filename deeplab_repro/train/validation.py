"""The test nets of a solver: the trained blobs on other data, outputs averaged over test_iter passes."""

from __future__ import annotations

import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feeds import open_feeds
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train import nets
from prototxt_import import NetSpec


class ValidationNet:
    """A net in phase TEST that uses the trained net's blobs; its data go on from one test phase to the next.

    The ranks share the passes, unless a SegAccuracy layer sums up over all of them.

    Args:
        spec: The test net.
        trained: The net that is trained.
        rng: The process generator, which its data layers share with the trained net's.
        passes: Of a test phase, the solver's test_iter.
        seed: Of fillers for layers that the trained net lacks.
        device: Where the net runs.
        ranks: This process among those of the job.
        workers: Threads that read images ahead.
        compute_loss: The solver's test_compute_loss: whether the weighted loss counts as an output, too, "test loss".

    Raises:
        CaffeFormatError: A list is missing, or an option is one that Caffe refuses.
        ValueError: There are fewer passes than ranks, or a layer has other blobs than the trained net's.
    """

    def __init__(
        self,
        spec: NetSpec,
        trained: CaffeNet,
        rng: CaffeRng,
        passes: int,
        seed: int,
        device: torch.device,
        ranks: Ranks,
        workers: int = 0,
        compute_loss: bool = False,
    ) -> None:
        self._compute_loss = compute_loss
        self._passes, self._device, self._ranks = passes, device, ranks
        sums_up = any(getattr(layer.options, "reset", True) is False for layer in spec.layers)
        self._shared = ranks.world > 1 and not sums_up
        if self._shared and passes < ranks.world:
            raise ValueError(
                f"{spec.source}: test_iter {passes} leaves some of the {ranks.world} processes without a pass; give at "
                f"least {ranks.world}"
            )
        self.feeds = open_feeds(spec, seed, rng=rng, workers=workers)
        self.net = CaffeNet(nets.sized(spec, self.feeds), torch.Generator().manual_seed(seed)).to(device)
        nets.share_parameters(trained, self.net)

    @torch.no_grad()
    def run(self) -> dict[str, list[float]]:
        """Run a test phase.

        Returns:
            The mean over its passes of every number of every output, by blob.
        """
        sums: dict[str, torch.Tensor] = {}
        for index in range(self._passes):
            if self._shared and index % self._ranks.world != self._ranks.rank:
                self.feeds.skip()
                continue
            blobs = self.net(**nets.to_device(self.feeds.next(), self._device))
            if self._compute_loss and blobs.loss is not None:
                blobs["test loss"] = blobs.loss
            for name, value in blobs.items():
                flat = value.detach().reshape(-1).double()
                sums[name] = sums[name] + flat if name in sums else flat
        if self._shared:
            sums = {name: self._ranks.total(total) for name, total in sums.items()}
        return {name: (total / self._passes).tolist() for name, total in sums.items()}
