"""CaffeNet: a NetSpec as a torch module, with Caffe's layer and blob names."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_repro.layers import CaffeLayer, build_module, require_modules
from deeplab_repro.layers.data import is_source
from prototxt_import import LayerSpec, NetSpec, read_net

if TYPE_CHECKING:
    from deeplab_repro.net.prepared import PreparedNet

# The largest published nets have 140 million; a file of a few bytes can ask for any number.
MAX_PARAMETERS = 2**30

Shape = tuple[int, ...]
PathLike = str | os.PathLike[str]


class Blobs(dict[str, Tensor]):
    """Blobs by name; `loss` is the net's total weighted loss, None where it has none or it was not computed."""

    loss: Tensor | None = None


@dataclass(frozen=True)
class _Step:
    layer: LayerSpec
    module: str  # key into CaffeNet.layers
    free: tuple[str, ...]  # blobs nobody reads after this step


@dataclass(frozen=True)
class _Plan:
    steps: tuple[_Step, ...]
    reads: frozenset[str]  # inputs the steps need
    keep: tuple[str, ...]
    with_loss: bool


class _Params(Mapping[str, list[nn.Parameter]]):
    """Learnable blobs by exact layer name; looked up in the modules, so that it survives moves and copies."""

    def __init__(self, layers: nn.ModuleDict, keys: Mapping[str, str]) -> None:
        self._layers, self._keys = layers, keys

    def __getitem__(self, name: str) -> list[nn.Parameter]:
        return self._layers[self._keys[name]].blobs()

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {_names(known[:8])}{', ...' if known[8:] else ''}"


class CaffeNet(nn.Module):
    """Runs a NetSpec: one submodule per Caffe layer, in `layers` (names torch refuses are percent-encoded there).

    Weights in the spec are copied into the parameters; layers without any are drawn from their fillers (`generator`:
    torch's by default). Blobs that share a name are one Parameter, and blobs with lr_mult 0 and BatchNorm's do not
    require gradients. Phase and therefore Dropout are fixed by the spec; `train()` and `eval()` change nothing.

    spec: the net, its weights left out. inputs: shape by blob, tops of data layers included.
    params: the learnable blobs of each layer in Caffe's order, by exact layer name.
    Inputs are converted to the parameters' dtype.

    Raises ValueError listing every layer of a type that no module runs, or for more than max_parameters numbers in all
    learnable blobs (2^30, 4 GiB, unless told), before any memory is taken."""

    def __init__(
        self, spec: NetSpec, generator: torch.Generator | None = None, max_parameters: int = MAX_PARAMETERS
    ) -> None:
        super().__init__()
        _check_size(spec, max_parameters)
        sources = [layer for layer in spec.layers if is_source(layer)]
        running = [layer for layer in spec.layers if not is_source(layer)]
        require_modules(running)
        self.spec = replace(spec, weights={})
        self.inputs: dict[str, Shape] = dict(spec.inputs)
        for layer in sources:
            self.inputs.update((top, tuple(spec.blobs.get(top, ()))) for top in layer.tops)
        self.layers = nn.ModuleDict()
        self._keys: dict[str, str] = {}
        self._running = [(layer, self._add(layer)) for layer in running]
        self._share_and_fill(spec, generator)
        made = (top for layer in running for top in layer.tops)
        self._blobs = tuple(dict.fromkeys((*self.inputs, *made)))
        self._plans: dict[tuple[tuple[str, ...], bool], _Plan] = {}
        self._fitting: set[tuple[object, ...]] = set()

    def _add(self, layer: LayerSpec) -> str:
        key = layer.name.replace("%", "%25").replace(".", "%2E")
        if hasattr(self.layers, key):
            key = f"%{ord(key[0]):02X}{key[1:]}"
        self.layers[key] = build_module(layer, self.spec)
        self._keys[layer.name] = key
        return key

    def _share_and_fill(self, spec: NetSpec, generator: torch.Generator | None) -> None:
        owners: dict[str, tuple[str, nn.Parameter]] = {}
        for layer, key in self._running:
            module: CaffeLayer = self.layers[key]
            if layer.name in spec.weights:
                module.load(spec.weights[layer.name])
            else:
                module.reset_parameters(generator)
            blobs = list(module.named_parameters(recurse=False))
            for param, (attribute, blob) in zip(layer.params, blobs, strict=True):
                if not param.name:
                    continue
                owner, shared = owners.setdefault(param.name, (layer.name, blob))
                if shared.shape != blob.shape:
                    raise module.fail(
                        f"parameter {param.name!r} is {tuple(blob.shape)} here and {tuple(shared.shape)} in {owner!r}"
                    )
                setattr(module, attribute, shared)

    @property
    def params(self) -> Mapping[str, list[nn.Parameter]]:
        return _Params(self.layers, self._keys)

    def forward(
        self,
        /,
        *,
        blobs: str | Sequence[str] | None = None,
        masks: Mapping[str, Tensor] | None = None,
        **inputs: Tensor,
    ) -> Blobs:
        """Run the net on its inputs, of any size that fits.

        blobs: None for the outputs (blobs nobody consumes), "all" for every blob, or names; then only what these
        need is computed, plus the loss where the inputs given suffice for it. An in-place chain's blob holds its
        final value.
        masks: dropout masks of zeros and ones by layer name, in place of random draws.

        Raises ValueError for inputs that are missing, unknown or do not fit, and for unknown blob or mask names."""
        given = {name: self._input(name, value) for name, value in inputs.items()}
        masks = masks or {}
        for name in masks:
            if name not in self._keys or not self.layers[self._keys[name]].takes_mask:
                raise ValueError(f"masks: no Dropout layer is called {name!r}{_hint(name, self._mask_names())}")
        plan = self._plan(blobs, given)
        self._check_fit(plan, given)
        values: dict[str, Tensor] = dict(given)
        loss = self._run_steps(plan.steps, values, masks)
        out = Blobs((name, values[name]) for name in plan.keep if name in values)
        if plan.with_loss:
            out.loss = loss
        return out

    def module_of(self, layer: str) -> CaffeLayer:
        """The module that runs the layer of that name."""
        return self.layers[self._keys[layer]]

    def layers_for(self, blobs: Sequence[str]) -> tuple[list[LayerSpec], list[str]]:
        """The layers that lead to these blobs, in order, and the inputs they need; ValueError for an unknown blob."""
        self._check_known(blobs)
        plan = self._planned(tuple(blobs), False)
        return [step.layer for step in plan.steps], [name for name in self.inputs if name in plan.reads]

    def prepare(
        self, inputs: Tensor | Mapping[str, Tensor], precision: str = "exact", blobs: Sequence[str] = ()
    ) -> PreparedNet:
        """A new net with the same calls and blob names that only infers, faster.

        Frozen BatchNorm, Scale and Bias are folded into convolutions, ReLU into the layers before it, Dropout goes;
        the four classifiers of an ASPP head become one. Values between folded layers are gone, in-place chains keep
        their final one; `blobs` names those to keep.
        inputs: by name, or one tensor for the only input. For their sizes each convolution on the CPU tries its
        methods and stays with the fastest, which can differ from one preparation to the next in the last bits; any
        other size still works, by the cost model's choice.
        precision: "exact", scores within 2e-5 of the largest; "fast", within 1e-3; "bf16", within 0.1, weights and maps
        bfloat16 where the processor multiplies that, else as "fast".

        Raises ValueError for a net of phase TRAIN, another precision, unknown names or inputs that do not fit."""
        from deeplab_repro.net.prepared import prepare

        return prepare(self, inputs, precision, blobs)

    def _run_steps(
        self, steps: Sequence[_Step], values: dict[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Run steps on the blobs in `values`, which then holds theirs; the sum of their weighted losses, if any."""
        loss: Tensor | None = None
        for step in steps:
            tops = self._run(step, values, masks)
            for i, weight in enumerate(step.layer.loss_weights[: len(tops)]):
                if weight:
                    part = tops[i].sum() if weight == 1 else (tops[i] * weight).sum()
                    loss = part if loss is None else loss + part
            values.update(zip(step.layer.tops, tops, strict=False))
            for name in step.free:
                values.pop(name, None)
        return loss

    def _run(self, step: _Step, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        layer, module = step.layer, self.layers[step.module]
        bottoms = [values[name] for name in layer.bottoms]
        for i, back in enumerate(layer.propagate_down):
            if not back:
                bottoms[i] = bottoms[i].detach()
        if any(layer.loss_weights) and torch.is_autocast_enabled(bottoms[0].device.type):
            # Autocast leaves some of a loss's steps in half precision on the CPU; its sums need more digits.
            bottoms = [x.float() for x in bottoms]
        mask = masks.get(layer.name) if module.takes_mask else None
        tops = module(*bottoms) if mask is None else module(*bottoms, mask=mask)
        return tops if isinstance(tops, tuple) else (tops,)

    def _input(self, name: str, value: Tensor) -> Tensor:
        if name not in self.inputs:
            raise ValueError(f"the net has no input {name!r}{_hint(name, self.inputs)}")
        if not isinstance(value, (Tensor, np.ndarray)):
            raise ValueError(f"input {name!r} must be a tensor or an array, got {type(value).__name__}")
        value = torch.as_tensor(value)
        dtype = self._input_dtype()
        if dtype is not None:
            return value.to(dtype)
        return value if value.is_floating_point() else value.to(torch.get_default_dtype())

    def _input_dtype(self) -> torch.dtype | None:
        first = next(self.parameters(), None)
        return None if first is None else first.dtype

    def _mask_names(self) -> list[str]:
        return [layer.name for layer, key in self._running if self.layers[key].takes_mask]

    def _plan(self, blobs: str | Sequence[str] | None, given: Mapping[str, Tensor]) -> _Plan:
        known = self._blobs
        if blobs is None:
            plan = self._planned(tuple(name for name in known if name in self.spec.outputs), True)
        elif blobs == "all":
            plan = self._planned(known, True)
        else:
            names = (blobs,) if isinstance(blobs, str) else tuple(blobs)
            self._check_known(names)
            plan = self._planned(names, True)
            if not plan.reads <= set(given):
                plan = self._planned(names, False)
        missing = sorted(plan.reads - set(given))
        if missing:
            raise ValueError(
                f"missing input{'s' * (len(missing) > 1)} {_names(missing)}; "
                "give every input, or name the blobs wanted if they do not depend on it"
            )
        return plan

    def _check_known(self, blobs: Iterable[str]) -> None:
        for name in blobs:
            if name not in self._blobs:
                raise ValueError(f"the net has no blob {name!r}{_hint(name, self._blobs)}")

    def _planned(self, keep: tuple[str, ...], with_loss: bool) -> _Plan:
        """The steps that lead to the blobs to keep and, with_loss, to the total loss; cached."""
        if (keep, with_loss) in self._plans:
            return self._plans[keep, with_loss]
        # Backwards: a layer runs if its top is wanted, or read by a later layer before it is written again.
        wanted, chosen = set(keep), []
        for layer, key in reversed(self._running):
            if wanted.intersection(layer.tops) or (with_loss and any(layer.loss_weights)):
                chosen.append((layer, key))
                wanted.difference_update(layer.tops)
                wanted.update(layer.bottoms)
        steps, later, reads = [], set(keep), set()
        for layer, key in chosen:  # from the last layer to the first
            names = {*layer.bottoms, *layer.tops}
            steps.append(_Step(layer, key, tuple(names - later)))
            later |= names
            reads.update(name for name in layer.bottoms if name in self.inputs)
        plan = _Plan(tuple(reversed(steps)), frozenset(reads), keep, with_loss)
        self._plans[keep, with_loss] = plan
        return plan

    def _check_fit(self, plan: _Plan, given: Mapping[str, Tensor]) -> None:
        """Infer the shapes for sizes not met before; CaffeFormatError names the layer that does not fit."""
        sizes = {name: tuple(x.shape) for name, x in given.items() if name in plan.reads}
        if all(sizes[name] == self.inputs[name] for name in sizes):
            return
        key = (plan.keep, *sorted(sizes.items()))
        if key in self._fitting:
            return
        fitted = self._part(plan).with_inputs(sizes)
        for layer in fitted.layers:
            asked, has = fitted.param_shapes.get(layer.name), self.spec.param_shapes.get(layer.name)
            if asked != has:
                raise ValueError(
                    f"layer {layer.name!r} ({layer.type}): inputs of shapes {sizes} ask for parameters of shapes "
                    f"{asked}, the net has {has}"
                )
        self._fitting.add(key)

    def _part(self, plan: _Plan) -> NetSpec:
        """The spec of the plan's layers alone: inputs that are not given must not stand in the way."""
        running = {name for step in plan.steps for name in self._names_in(step)}
        layers = tuple(one for one in self.spec.layers if is_source(one) or one.name in running)
        return replace(self.spec, layers=layers)

    def _names_in(self, step: _Step) -> Iterable[str]:
        """Names of the spec's layers that a step runs."""
        return (step.layer.name,)

    def extra_repr(self) -> str:
        return f"{self.spec.name!r}, phase={self.spec.phase}"


def _check_size(spec: NetSpec, most: int) -> None:
    sizes = {name: sum(map(math.prod, shapes)) for name, shapes in spec.param_shapes.items()}
    if sum(sizes.values()) > most:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"{spec.source or spec.name or 'the net'}: asks for {sum(sizes.values()):,} parameters, "
            f"{sizes[largest]:,} of them in layer {largest!r}; max_parameters allows {most:,}"
        )


def load_caffe(
    prototxt: PathLike,
    weights: PathLike | None = None,
    phase: str = "TEST",
    variables: Mapping[str, str] | None = None,
    dialect: str = "auto",
    level: int = 0,
    stages: Sequence[str] = (),
    max_parameters: int = MAX_PARAMETERS,
) -> CaffeNet:
    """A CaffeNet from original files, or from a .safetensors checkpoint given in place of the prototxt.

    weights: .caffemodel, or None for the fillers. variables: values of the ${NAME}s in the prototxt. phase, level and
    stages select layers as in Caffe; dialect "auto" is told from the files. A checkpoint brings weights, phase and
    dialect along. max_parameters: as for CaffeNet.

    Raises CaffeFormatError, a ValueError, naming file, line and layer, and OSError for files that cannot be read."""
    if os.fspath(prototxt).endswith(".safetensors"):
        from deeplab_repro.net.checkpoint import load_checkpoint

        if weights is not None:
            raise ValueError(f"{os.fspath(prototxt)}: a checkpoint has its own weights; give a prototxt to use others")
        return load_checkpoint(prototxt)
    spec = read_net(
        prototxt, weights=weights, phase=phase, variables=variables or {}, dialect=dialect, level=level, stages=stages
    )
    return CaffeNet(spec, max_parameters=max_parameters)
