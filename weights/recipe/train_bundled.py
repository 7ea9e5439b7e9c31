"""Train the bundled model on drawn scenes and write it as original Caffe files.

    python weights/recipe/train_bundled.py [-o weights] [--snapshot FILE]

A narrow DeepLab-LargeFOV is trained from scratch with Caffe's SGD on scenes drawn for each iteration. While it trains,
every convolution but the classifier is followed by batch normalisation, which is folded into the convolution at the
end: the files hold the plain network. CRF parameters are searched on validation scenes; the demo's scenes are scored
once, at the end. With --snapshot, training goes on from that file where it exists, and saves to it. The same machine,
torch and thread count give the same files.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeplab_repro.crf import CRFParams, DenseCRF
from deeplab_repro.data.scenes import CLASSES, PALETTE, draw_scene
from deeplab_repro.files import replacing
from deeplab_repro.metrics import ConfusionMatrix
from deeplab_repro.network import CaffeNet
from deeplab_repro.predict import Segmenter
from deeplab_repro.zoo import vgg16_spec
from prototxt_import import Filler, NetSpec, make_net, read_net, write_net, write_weights

MEAN_BGR = (104.008, 116.669, 122.675)
IGNORE = 255
CLASSIFIER = "fc8_scenes"
DEMO_SEEDS = tuple(range(1, 21))
VALIDATION_SEEDS = tuple(range(10_001, 10_017))
FIRST_TRAINING_SEED = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    size: what Segmenter feeds the net for a 240x320 scene. rounds: iterations and base rate of each. warmup: iterations
    over which a round's rate rises linearly. weight_power: a class of share f of the training pixels weighs
    f ** -weight_power in the loss. input_scale: the net trains on (pixel - mean) * input_scale, of about unit variance.
    """

    channels: tuple[int, ...] = (16, 32, 64, 96, 96)
    fc_channels: int = 256
    size: tuple[int, int] = (257, 321)
    rounds: tuple[tuple[int, float], ...] = ((2400, 0.025), (400, 0.0125))
    batch: int = 2
    power: float = 0.9
    warmup: int = 100
    momentum: float = 0.9
    weight_decay: float = 5e-4
    weight_power: float = 0.5
    input_scale: float = 1 / 64
    seed: int = 7
    initialisation: str = "msra; classifier gaussian 0.01"
    normalisation: str = "batch normalisation after every convolution but the classifier, folded in at the end"
    loss: str = "over all pixels of fc8_interp, no dropout, scenes mirrored at random"

    @property
    def iterations(self) -> int:
        return sum(length for length, _ in self.rounds)

    def rate(self, iteration: int) -> float:
        """The poly policy, begun anew with each round."""
        first = 0
        for length, base_rate in self.rounds:
            done = iteration - first
            if done < length:
                return base_rate * (1 - done / length) ** self.power * min(1.0, (done + 1) / self.warmup)
            first += length
        raise ValueError(f"iteration {iteration}: the recipe has {self.iterations}")

    def class_weights(self) -> Tensor:
        """One weight a class, 1 on average over the pixels of the first training scenes."""
        scenes = [draw_scene(FIRST_TRAINING_SEED + i)[1].ravel() for i in range(60)]
        share = np.bincount(np.concatenate(scenes), minlength=len(CLASSES)) / sum(map(len, scenes))
        weights = share**-self.weight_power
        return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)

    def batch_at(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Data [N, 3, H, W] and labels int64 [N, H, W] of an iteration: scenes of their own, padding ignored."""
        rng = np.random.Generator(np.random.PCG64([self.seed, iteration]))
        data = torch.zeros(self.batch, 3, *self.size)
        labels = torch.full((self.batch, *self.size), IGNORE)
        for i in range(self.batch):
            image, truth = draw_scene(FIRST_TRAINING_SEED + iteration * self.batch + i)
            if rng.random() < 0.5:
                image, truth = image[:, ::-1], truth[:, ::-1]
            height, width = truth.shape
            data[i, :, :height, :width] = torch.from_numpy(image[..., ::-1] - np.float32(MEAN_BGR)).permute(2, 0, 1)
            labels[i, :height, :width] = torch.from_numpy(truth.astype(np.int64))
        return (data * self.input_scale).contiguous(memory_format=torch.channels_last), labels


def build(recipe: Recipe) -> CaffeNet:
    spec = vgg16_spec(
        num_classes=len(CLASSES),
        channels=recipe.channels,
        fc_channels=recipe.fc_channels,
        size=recipe.size,
        classifier=CLASSIFIER,
    )
    return CaffeNet(spec, generator=torch.Generator().manual_seed(recipe.seed))


class Trainee:
    """The net in training: its convolutions' outputs normalised by hooks, and Caffe's SGD over all parameters.

    history = momentum * history + rate * lr_mult * (gradient + decay * decay_mult * weight); weight -= history.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.net = build(recipe).to(memory_format=torch.channels_last)
        multipliers = {layer.name: [(p.lr_mult, p.decay_mult) for p in layer.params] for layer in self.net.spec.layers}
        self.norms = nn.ModuleDict()
        self.blobs: list[tuple[nn.Parameter, float, float]] = []
        for name, blobs in self.net.params.items():
            if not blobs:
                continue
            weight, bias = blobs
            self.blobs.append((weight, *multipliers[name][0]))
            if name == CLASSIFIER:
                self.blobs.append((bias, *multipliers[name][1]))
                continue
            bias.requires_grad_(False)  # the norm's own shift takes its place
            norm = self.norms[name] = nn.BatchNorm2d(len(weight))
            self.net.layers[name].register_forward_hook(lambda module, inputs, top, norm=norm: norm(top))
            self.blobs += [(norm.weight, 1.0, 0.0), (norm.bias, 1.0, 0.0)]
        self.history = [torch.zeros_like(blob) for blob, *_ in self.blobs]
        self.class_weights = recipe.class_weights()

    def step(self, iteration: int) -> float:
        """One iteration; its loss before the update."""
        data, labels = self.recipe.batch_at(iteration)
        scores = self.net(data=data)["fc8_interp"]
        loss = F.cross_entropy(scores, labels, self.class_weights, ignore_index=IGNORE)
        loss.backward()
        self.update(self.recipe.rate(iteration))
        return loss.item()

    @torch.no_grad()
    def update(self, rate: float) -> None:
        for (blob, lr_mult, decay_mult), history in zip(self.blobs, self.history, strict=True):
            gradient = blob.grad.add_(blob, alpha=self.recipe.weight_decay * decay_mult)
            history.mul_(self.recipe.momentum).add_(gradient, alpha=rate * lr_mult)
            blob.sub_(history)
            blob.grad = None

    @torch.no_grad()
    def plain(self) -> CaffeNet:
        """A net that takes pixel - mean and needs no normalisation: scales and shifts folded into the convolutions."""
        plain = build(self.recipe)
        plain.load_state_dict(self.net.state_dict())
        for name, norm in self.norms.items():
            weight, bias = plain.params[name]
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight.mul_(scale.view(-1, 1, 1, 1))
            bias.copy_(norm.bias - norm.running_mean * scale)
        plain.params["conv1_1"][0].mul_(self.recipe.input_scale)
        return plain

    def state(self) -> dict[str, Any]:
        return {"net": self.net.state_dict(), "norms": self.norms.state_dict(), "history": self.history}

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.norms.load_state_dict(state["norms"])
        for history, saved in zip(self.history, state["history"], strict=True):
            history.copy_(saved)


def train(recipe: Recipe, snapshot: Path | None) -> tuple[CaffeNet, float]:
    """The trained plain net, and the seconds it took."""
    trainee, start, seconds = Trainee(recipe), 0, 0.0
    if snapshot is not None and snapshot.exists():
        saved = torch.load(snapshot, weights_only=True)
        trainee.load(saved)
        start, seconds = saved["iteration"], saved["seconds"]
    losses: list[float] = []
    clock = time.monotonic() - seconds
    for iteration in range(start, recipe.iterations):
        losses.append(trainee.step(iteration))
        done = iteration + 1
        if done % 100 == 0:
            seconds = time.monotonic() - clock
            print(f"iteration {done}: loss {np.mean(losses[-100:]):.4f}, {seconds:.0f} s", flush=True)
            if snapshot is not None:
                with replacing(snapshot) as temporary:
                    torch.save({**trainee.state(), "iteration": done, "seconds": seconds}, temporary)
        if done % 600 == 0:
            matrix = score(scored(trainee.plain(), VALIDATION_SEEDS))
            print(f"  validation mIoU {matrix.miou():.4f}", np.round(matrix.per_class(), 3).tolist(), flush=True)
    return trainee.plain(), time.monotonic() - clock


Scored = list[tuple[np.ndarray, np.ndarray, Tensor]]


def scored(net: CaffeNet, seeds: Sequence[int]) -> Scored:
    """Image, truth and scores [L, H, W] of each scene."""
    segmenter = Segmenter(net=net, mean_bgr=MEAN_BGR, crf=None, device="cpu")
    scenes = (draw_scene(seed) for seed in seeds)
    return [(image, truth, torch.from_numpy(segmenter(image).scores)) for image, truth in scenes]


def score(scenes: Scored, crf: CRFParams | None = None) -> ConfusionMatrix:
    matrix = ConfusionMatrix(len(CLASSES))
    for image, truth, scores in scenes:
        final = scores if crf is None else DenseCRF(crf)(torch.from_numpy(image), scores)
        matrix.update(final.argmax(0).numpy(), truth)
    return matrix


# Where the search begins (v2's ResNet-101, nearly) and the values it may take.
CRF_LADDERS: dict[str, tuple[float, tuple[float, ...]]] = {
    "bilateral_rgb_std": (5.0, (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 17.0, 22.0)),
    "bilateral_xy_std": (65.0, (10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 121.0)),
    "bilateral_weight": (4.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 12.0)),
    "gaussian_weight": (3.0, (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)),
    "gaussian_xy_std": (1.0, (0.7, 1.0, 1.5, 2.0, 3.0)),
}


def choose_crf(scenes: Scored) -> CRFParams:
    """Climb the ladders, from values as published, one parameter at a time until no single step raises mean IoU."""
    places = {name: ladder.index(start) for name, (start, ladder) in CRF_LADDERS.items()}

    def params(places: dict[str, int]) -> CRFParams:
        return CRFParams(**{name: CRF_LADDERS[name][1][place] for name, place in places.items()})

    @functools.cache
    def value(*key: int) -> float:
        return score(scenes, params(dict(zip(CRF_LADDERS, key, strict=True)))).miou()

    while True:
        before = dict(places)
        for (name, (_, ladder)), way in itertools.product(CRF_LADDERS.items(), (1, -1)):
            while 0 <= places[name] + way < len(ladder):
                moved = {**places, name: places[name] + way}
                if value(*moved.values()) <= value(*places.values()):
                    break
                places = moved
        print(f"  CRF mIoU {value(*places.values()):.4f} {params(places)}", flush=True)
        if places == before:
            return params(places)


def v1_spec(spec: NetSpec) -> NetSpec:
    """The spec with a filler that v1 knows; msra came later."""
    layers = [
        replace(layer, options=replace(layer.options, weight_filler=Filler(type="xavier")))
        if layer.type == "Convolution"
        else layer
        for layer in spec.layers
    ]
    return make_net(spec.name, spec.inputs, layers, spec.phase)


def write(net: CaffeNet, crf: CRFParams, record: dict[str, object], folder: Path) -> None:
    spec = v1_spec(net.spec)
    prototxt, caffemodel = folder / "bundled.prototxt", folder / "bundled.caffemodel"
    arrays = {name: [blob.detach().numpy().copy() for blob in blobs] for name, blobs in net.params.items() if blobs}
    write_net(spec, prototxt, dialect="v1")
    write_weights(arrays, spec, caffemodel, dialect="v1")
    for name, blobs in read_net(prototxt, caffemodel).weights.items():
        for blob, array in zip(blobs, arrays[name], strict=True):
            assert np.array_equal(blob, array), f"{name}: read back with other values"
    values = asdict(crf)
    values.pop("compatibility")
    facts = {
        "class_names": CLASSES,
        "palette": PALETTE.tolist(),
        "mean_bgr": MEAN_BGR,
        "crf": values,
        **record,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
    (folder / "bundled.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--snapshot", type=Path)
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    recipe = Recipe()
    net, seconds = train(recipe, arguments.snapshot)
    validation = scored(net, VALIDATION_SEEDS)
    crf = choose_crf(validation)
    demo = scored(net, DEMO_SEEDS)
    before, after = score(demo), score(demo, crf)
    print(f"demo scenes: mIoU {before.miou():.4f} before, {after.miou():.4f} after the CRF")
    record = {
        "demo": {
            "seeds": DEMO_SEEDS,
            "height": 240,
            "width": 320,
            "miou_before": before.miou(),
            "miou_after": after.miou(),
            "iou_before": dict(zip(CLASSES, before.per_class().tolist(), strict=True)),
            "iou_after": dict(zip(CLASSES, after.per_class().tolist(), strict=True)),
        },
        "validation": {
            "seeds": VALIDATION_SEEDS,
            "miou_before": score(validation).miou(),
            "miou_after": score(validation, crf).miou(),
        },
        "recipe": {
            **asdict(recipe),
            "iterations": recipe.iterations,
            "first_training_seed": FIRST_TRAINING_SEED,
            "training_seconds": round(seconds),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
    write(net, crf, record, arguments.output)


if __name__ == "__main__":
    main()
