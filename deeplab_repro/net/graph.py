"""A net's graph at work: which layers a call needs, whether its inputs fit, and the run from blob to blob."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_repro.layers import CaffeLayer
from deeplab_repro.net.blobs import Blobs
from prototxt_import import LayerSpec, NetSpec
from prototxt_import.errors import nearest
from prototxt_import.layers import is_source

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """A layer in its turn.

    Args:
        layer: The layer.
        module: Its key in Graph.layers.
        free: Blobs nobody reads after it.
    """

    layer: LayerSpec
    module: str
    free: tuple[str, ...]


@dataclass(frozen=True)
class _Pass:
    """What one way to call a net runs. reads: the inputs that takes; keep: the blobs it returns."""

    steps: tuple[Step, ...]
    reads: frozenset[str]
    keep: tuple[str, ...]
    with_loss: bool


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {_names(known[:8])}{', ...' if known[8:] else ''}"


class Graph(nn.Module):
    """Modules that run layers, in order, under the calls and blob names that nets share.

    Base of CaffeNet, which has one module per layer of its spec, and of PreparedNet, whose modules run several layers
    each; neither is the other. `spec` is the net, its weights left out; `inputs` the shape by blob, tops of data layers
    included; `layers` the modules; names torch refuses are percent-encoded there. Inputs are converted to the
    parameters' dtype.

    Args:
        spec: The whole net; its sources are inputs here.
        parts: What runs, in order: a layer, whose bottoms and tops the module takes and gives, and its module.

    Example:
        >>> import torch
        >>> from deeplab_repro.layers import build_module
        >>> from deeplab_repro.net.graph import Graph
        >>> from prototxt_import import layer, make_net
        >>> spec = make_net("n", {"x": (1, 2)}, [layer("ReLU", "r", "x", "y")])
        >>> graph = Graph(spec, [(spec.layers[0], build_module(spec.layers[0], spec))])
        >>> graph(x=torch.tensor([[1.0, -1.0]]))["y"]
        tensor([[1., 0.]])
    """

    def __init__(self, spec: NetSpec, parts: Iterable[tuple[LayerSpec, nn.Module]]) -> None:
        super().__init__()
        self.spec = replace(spec, weights={})
        self.inputs: dict[str, Shape] = dict(spec.inputs)
        for layer in filter(is_source, spec.layers):
            self.inputs.update((top, tuple(spec.blobs.get(top, ()))) for top in layer.tops)
        self.layers = nn.ModuleDict()
        self._keys: dict[str, str] = {}
        self._running: list[tuple[LayerSpec, str]] = []
        for layer, module in parts:
            key = self._keys[layer.name] = self._free_key(layer.name)
            self.layers[key] = module
            self._running.append((layer, key))
        made = (top for layer, _ in self._running for top in layer.tops)
        self._blobs = tuple(dict.fromkeys((*self.inputs, *made)))
        self._passes: dict[tuple[tuple[str, ...], bool], _Pass] = {}
        self._fitting: set[tuple[object, ...]] = set()

    @property
    def params(self) -> Mapping[str, list[nn.Parameter]]:
        """The learnable blobs of each layer, by its name."""
        raise NotImplementedError

    def _free_key(self, name: str) -> str:
        key = name.replace("%", "%25").replace(".", "%2E") or "%"
        return f"%{ord(key[0]):02X}{key[1:]}" if hasattr(self.layers, key) else key

    def forward(
        self,
        value: Tensor | None = None,
        /,
        *,
        blobs: str | Sequence[str] | None = None,
        masks: Mapping[str, Tensor] | None = None,
        **inputs: Tensor,
    ) -> Blobs:
        """Run the net on its inputs, of any size that fits.

        Args:
            value: The input of a net that has only one, in place of its name.
            blobs: None for the outputs (blobs nobody consumes), "all" for every blob, or names; then only what these
                need is computed, plus the loss where the inputs given suffice for it. An in-place chain's blob holds
                its final value.
            masks: Dropout masks of zeros and ones by layer name, in place of random draws.
            inputs: Tensors or arrays by the name of the input.

        Returns:
            The blobs by name, with the total loss.

        Raises:
            ValueError: Inputs are missing, unknown or do not fit, or a blob or mask name is unknown.
        """
        inputs = self._by_name(value, inputs)
        given = {name: self._input(name, value) for name, value in inputs.items()}
        masks = masks or {}
        for name in masks:
            if name not in self._keys or not self.layers[self._keys[name]].takes_mask:
                raise ValueError(f"masks: no Dropout layer is called {name!r}{_hint(name, self._mask_names())}")
        chosen = self._pass(blobs, given)
        self._check_fit(chosen, given)
        values: dict[str, Tensor] = dict(given)
        loss = self._run_steps(chosen.steps, values, masks)
        out = Blobs((name, values[name]) for name in chosen.keep if name in values)
        if chosen.with_loss:
            out.loss = loss
        return out

    def as_module(self, output: str | None = None) -> TensorModule:
        """The net as a module from a tensor to a tensor, for torch.nn.Sequential and whatever knows nothing of blobs.

        Args:
            output: The blob that it gives, by default the net's only output.

        Returns:
            A module that holds this net, its weights included.

        Raises:
            ValueError: The net has several inputs or none, has no blob of that name, or nobody says which of several
                outputs is meant.

        Example:
            >>> import torch
            >>> from deeplab_repro import CaffeNet
            >>> from prototxt_import import layer, make_net
            >>> net = CaffeNet(make_net("n", {"data": (1, 2)}, [layer("ReLU", "relu", ["data"], ["y"])]))
            >>> torch.nn.Sequential(net.as_module(), torch.nn.Flatten())(torch.tensor([[-1.0, 2.0]]))
            tensor([[0., 2.]])
        """
        return TensorModule(self, output)

    def _by_name(self, value: Tensor | None, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        if value is None:
            return inputs
        if len(self.inputs) != 1:
            raise ValueError(f"the net has the inputs {_names(self.inputs) or 'none'}; give each by its name")
        (name,) = self.inputs
        if name in inputs:
            raise ValueError(f"input {name!r} is given twice, without its name and with it")
        return {name: value, **inputs}

    def module_of(self, layer: str) -> CaffeLayer:
        """The module that runs a layer.

        Args:
            layer: The layer's name.

        Returns:
            The module.
        """
        return cast(CaffeLayer, self.layers[self._keys[layer]])

    def layers_for(self, blobs: Sequence[str]) -> tuple[list[LayerSpec], list[str]]:
        """The layers that lead to blobs, and the inputs these need.

        Args:
            blobs: Names of blobs.

        Returns:
            The layers in order, and the inputs' names.

        Raises:
            ValueError: The net has no blob of a name.
        """
        self._check_known(blobs)
        chosen = self._leading_to(tuple(blobs), False)
        return [step.layer for step in chosen.steps], [name for name in self.inputs if name in chosen.reads]

    def running_layers(self) -> list[LayerSpec]:
        """The layers that modules run; sources are none.

        Returns:
            The layers in order.
        """
        return [layer for layer, _ in self._running]

    @property
    def blob_names(self) -> tuple[str, ...]:
        """Every blob that a call can return: inputs first, then in the order they are made."""
        return self._blobs

    def _run_steps(
        self, steps: Sequence[Step], values: dict[str, Tensor], masks: Mapping[str, Tensor]
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

    def _run(self, step: Step, values: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
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

    def _pass(self, blobs: str | Sequence[str] | None, given: Mapping[str, Tensor]) -> _Pass:
        if blobs is None:
            chosen = self._leading_to(tuple(name for name in self._blobs if name in self.spec.outputs), True)
        elif blobs == "all":
            chosen = self._leading_to(self._blobs, True)
        else:
            names = (blobs,) if isinstance(blobs, str) else tuple(blobs)
            self._check_known(names)
            chosen = self._leading_to(names, True)
            if not chosen.reads <= set(given):
                chosen = self._leading_to(names, False)
        missing = sorted(chosen.reads - set(given))
        if missing:
            raise ValueError(
                f"missing input{'s' * (len(missing) > 1)} {_names(missing)}; "
                "give every input, or name the blobs wanted if they do not depend on it"
            )
        return chosen

    def _check_known(self, blobs: Iterable[str]) -> None:
        for name in blobs:
            if name not in self._blobs:
                raise ValueError(f"the net has no blob {name!r}{_hint(name, self._blobs)}")

    def _leading_to(self, keep: tuple[str, ...], with_loss: bool) -> _Pass:
        """The steps that lead to the blobs to keep and, with_loss, to the total loss; cached."""
        if (keep, with_loss) in self._passes and not any(self._writes(key) for _, key in self._running):
            return self._passes[keep, with_loss]
        # Backwards: a layer runs if its top is wanted, or read by a later layer before it is written again.
        wanted, chosen = set(keep), []
        for layer, key in reversed(self._running):
            asked = any(layer.loss_weights) or self._writes(key)
            if wanted.intersection(layer.tops) or (with_loss and asked):
                chosen.append((layer, key))
                wanted.difference_update(layer.tops)
                wanted.update(layer.bottoms)
        steps, later = [], set(keep)
        reads: set[str] = set()
        for layer, key in chosen:  # from the last layer to the first
            names = {*layer.bottoms, *layer.tops}
            steps.append(Step(layer, key, tuple(names - later)))
            later |= names
            reads.update(name for name in layer.bottoms if name in self.inputs)
        self._passes[keep, with_loss] = _Pass(tuple(reversed(steps)), frozenset(reads), keep, with_loss)
        return self._passes[keep, with_loss]

    def _writes(self, key: str) -> bool:
        """Whether a layer leaves files at every pass; a folded one does not."""
        return getattr(self.layers[key], "writes", False)

    def _check_fit(self, chosen: _Pass, given: Mapping[str, Tensor]) -> None:
        """Infer the shapes for sizes not met before; CaffeFormatError names the layer that does not fit."""
        sizes = {name: tuple(x.shape) for name, x in given.items() if name in chosen.reads}
        if any(isinstance(side, torch.SymInt) for shape in sizes.values() for side in shape):
            return  # torch.export asks for any size, which a comparison would make one
        if all(sizes[name] == self.inputs[name] for name in sizes):
            return
        key = (chosen.keep, *sorted(sizes.items()))
        if key in self._fitting:
            return
        fitted = self._part(chosen).with_inputs(sizes)
        for layer in fitted.layers:
            asked, has = fitted.param_shapes.get(layer.name), self.spec.param_shapes.get(layer.name)
            if asked != has:
                raise ValueError(
                    f"layer {layer.name!r} ({layer.type}): inputs of shapes {sizes} ask for parameters of shapes "
                    f"{asked}, the net has {has}"
                )
        self._fitting.add(key)

    def _part(self, chosen: _Pass) -> NetSpec:
        """The spec of the layers that run alone: inputs that are not given must not stand in the way."""
        running = {name for step in chosen.steps for name in self._names_in(step)}
        layers = tuple(layer for layer in self.spec.layers if is_source(layer) or layer.name in running)
        return replace(self.spec, layers=layers)

    def _names_in(self, step: Step) -> Iterable[str]:
        """Names of the spec's layers that a step runs."""
        return (step.layer.name,)

    def extra_repr(self) -> str:
        """What `print` shows between the module's brackets: name and phase."""
        return f"{self.spec.name!r}, phase={self.spec.phase}"


class TensorModule(nn.Module):
    """A net of one input as a module from tensor to tensor; see `Graph.as_module`."""

    def __init__(self, net: Graph, output: str | None = None) -> None:
        super().__init__()
        if output is not None and output not in net.blob_names:
            raise ValueError(f"as_module: the net has no blob {output!r}{nearest(output, net.blob_names)}")
        outputs = [name for name in net.blob_names if name in net.spec.outputs] if output is None else [output]
        for which, names in (("input", list(net.inputs)), ("output", outputs)):
            if len(names) != 1:
                has = (_names(names) or "none") + ("; name one of them" if which == "output" and names else "")
                raise ValueError(f"as_module: a net of one {which} goes from tensor to tensor, this one has {has}")
        self.net, self.output = net, outputs[0]

    def forward(self, value: Tensor) -> Tensor:
        """Run the net.

        Args:
            value: Its input.

        Returns:
            Its output.
        """
        return self.net(value, blobs=[self.output])[self.output]
