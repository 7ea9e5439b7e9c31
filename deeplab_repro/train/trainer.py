"""A solver file carried out: Caffe's Solver::Step, snapshots and test phases, on one process or several."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeplab_repro.data.feeds.feeds import open_feeds
from deeplab_repro.jobs.ranks import LostRank, Ranks
from deeplab_repro.net.blobs import Blobs
from deeplab_repro.net.network import CaffeNet
from deeplab_repro.train import nets
from deeplab_repro.train.checkpointing import CheckpointedNet
from deeplab_repro.train.debug_info import DebugInfo
from deeplab_repro.train.division import Division
from deeplab_repro.train.masks import DropoutMasks
from deeplab_repro.train.not_finite import NotFinite, blame, check_gradients
from deeplab_repro.train.optimizer import Optimizer
from deeplab_repro.train.settings import AMP, Settings
from deeplab_repro.train.signals import Signals
from deeplab_repro.train.snapshot import (
    Saved,
    Snapshot,
    read_latest,
    read_snapshot,
    snapshot_files,
    snapshot_notes,
    write_snapshot,
)
from deeplab_repro.train.validation import ValidationNet
from deeplab_repro.train.watch.pictures import sample_pictures
from deeplab_repro.train.watch.watchers import Iteration, Start, Watcher
from prototxt_import import SolverSpec, SolverState
from prototxt_import.paths import named_file

# Sample pictures in a whole run.
PICTURES = 20


class Trainer:
    """The train net of a solver with everything its updates need.

    Reads the nets, opens their data layers, loads weights or a snapshot; `run` then trains. Close it afterwards, or use
    it as a context manager.

    Args:
        solver: The solver.
        settings: What its file does not say.
        ranks: This process among those of the job.
        watchers: Who is told what happens.
        workers: Threads that read images ahead.

    Raises:
        CaffeFormatError: A file makes no sense.
        ValueError: A value of solver or settings makes no sense.
        OSError: A file cannot be read.
    """

    def __init__(
        self,
        solver: SolverSpec,
        settings: Settings,
        ranks: Ranks = Ranks(),
        watchers: Sequence[Watcher] = (),
        workers: int = 0,
    ) -> None:
        self.solver, self.settings, self.ranks = solver, settings, ranks
        self._watchers = list(watchers)
        self.prefix, self.stop_at = settings.prefix_for(solver), settings.stop_for(solver)
        spec = nets.train_spec(solver, settings.variables, settings.dialect)
        self._division = Division.of(spec, solver, ranks)
        self._notes: list[str] = []
        saved = self._saved()
        self.seed = self._agreed_seed(saved)
        self._feeds = open_feeds(spec, self.seed, *self._division.share, workers=workers)
        try:
            spec = nets.with_models(nets.sized(spec, self._feeds), self._models(saved))
            self._notes += [*nets.weight_notes(spec), *settings.notes_on(solver)]
            if ranks.first:
                self._notes += snapshot_notes(snapshot_files(self.prefix, 0, solver.snapshot_format), spec)
            kind = CheckpointedNet if settings.checkpoint_activations else CaffeNet
            self.net: CaffeNet = kind(spec, torch.Generator().manual_seed(self.seed))
            self.net.to(settings.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            ranks.follow([blob.data for blob in self.net.parameters()])
            # What listens to every layer cannot be compiled.
            compiled = settings.compile and not solver.debug_info
            self._runner: Callable[..., Blobs] = torch.compile(self.net, dynamic=False) if compiled else self.net
            say = partial(self._tell, "debugged")
            self._debug = DebugInfo(self.net, say) if solver.debug_info and ranks.first else None
            self._loss_tops = {
                top
                for layer in spec.layers
                for top, weight in zip(layer.tops, layer.loss_weights, strict=False)
                if weight
            }
            self._masks = DropoutMasks(self.net, self._feeds.rng)
            self.optimizer = Optimizer(self.net, solver)
            self.updates = 0
            # What belongs to the last finished update, while the blobs are as that left them; changed and used under
            # the lock, so that a snapshot from another thread is whole.
            self._at_rest: dict[str, Any] | None = None
            self._moving = threading.Lock()
            self.stopped_by: int | None = None
            self._suspect: tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None = None
            self._losses: deque[float] = deque(maxlen=solver.average_loss)
            self._tests = [
                ValidationNet(
                    tested,
                    self.net,
                    self._feeds.rng,
                    passes,
                    self.seed,
                    settings.device,
                    ranks,
                    workers,
                    solver.test_compute_loss,
                )
                for tested, passes in zip(
                    nets.test_specs(solver, settings.variables, settings.dialect), solver.test_iter, strict=True
                )
            ]
            if self._debug is not None:
                for test in self._tests:
                    DebugInfo(test.net, say, always=True)
            if saved is not None:
                self._restore(saved)
        except BaseException:
            self._feeds.close()
            raise

    def _saved(self) -> Saved | None:
        snapshot = self.settings.snapshot
        if snapshot == "latest":
            saved, self._notes = read_latest(self.prefix)
        else:
            saved = None if snapshot is None else read_snapshot(snapshot)
        updates = self.ranks.gather(None if saved is None else saved.state.iter)
        if len(set(updates)) > 1:
            theirs = ", ".join("no snapshot" if done is None else f"one of {done} updates" for done in updates)
            raise ValueError(
                f"{self.prefix}: the processes find different snapshots, in order {theirs}; let them share the folder, "
                "or copy the files to each machine"
            )
        return saved

    def _agreed_seed(self, saved: Saved | None) -> int:
        if saved is not None and saved.extras is not None:
            return int(saved.extras["seed"])
        own = self.solver.random_seed if self.solver.random_seed >= 0 else secrets.randbits(32)
        if self.ranks.world == 1:
            return own
        # Every process draws the whole job's numbers, so they need one seed.
        shared = torch.tensor([own], device=self.settings.device)
        self.ranks.follow([shared])
        return int(shared.item())

    def _models(self, saved: Saved | None) -> Sequence[Path]:
        if saved is not None:
            return (saved.model,)
        if self.settings.weights:
            return self.settings.weights
        named = [name.strip() for entry in self.solver.weights for name in entry.split(",")]
        return [named_file(name, self.solver.source, self.settings.variables.values()) for name in named if name]

    def _restore(self, saved: Saved) -> None:
        self.optimizer.restore(saved.state)
        self.updates = saved.state.iter
        if saved.extras is None:
            self._notes.append(f"{saved.state.source} has no .resume beside it: the data start again, as in Caffe")
            return
        extras = saved.extras
        if len(extras["tests"]) != len(self._tests):
            raise ValueError(
                f"{saved.state.source}: was written with {len(extras['tests'])} test nets, the solver has "
                f"{len(self._tests)}; remove its .resume to go on with the data restarted"
            )
        for test, state in zip(self._tests, extras["tests"], strict=True):
            test.feeds.load_state_dict(state)
        # Last: the test nets' layers hold the same generator.
        self._feeds.load_state_dict(extras["data"])
        self._losses.extend(extras["losses"])

    def run(self) -> list[Snapshot]:
        """Train to the end, or until told to stop by a signal.

        Returns:
            The snapshots written.

        Raises:
            NotFinite: The loss is NaN or infinite; the message names iteration and layer.
            LostRank: Another process is gone; a snapshot is written before.
            ValueError: All updates are done already, or nothing leads to a loss.
        """
        first, solver = self.updates, self.solver
        if first >= self.stop_at and self.settings.snapshot == "latest":
            # A script that is started again passes over what is done.
            return []
        if first >= self.stop_at:
            raise ValueError(f"{solver.source}: {first} updates are done already, it was to stop after {self.stop_at}")
        written: list[Snapshot] = []
        self._tell("started", self._start(first))
        with Signals() as signals, self.ranks.rescued(self._last_words):
            while self.updates < self.stop_at:
                before = self._at_rest = self._extras() if self.ranks.world > 1 else {}
                try:
                    self._test_if_due()
                    stop, save = self._iterate(signals)
                    if self.ranks.world == 1:
                        # A signal that came while watchers were told counts now, not an iteration later.
                        stop, save = signals.stop, signals.save
                except LostRank as error:
                    raise self._rescued(before, error) from error
                if save:
                    signals.saved()
                if stop or save or (solver.snapshot and self.updates % solver.snapshot == 0):
                    written.append(self.save())
                if stop:
                    break
        if self.updates >= self.stop_at:
            at_end = written and written[-1] == snapshot_files(self.prefix, self.updates, solver.snapshot_format)
            if not at_end and (solver.snapshot_after_train or self.settings.max_iter is not None):
                written.append(self.save())
            if solver.test_interval and self.updates % solver.test_interval == 0:
                self._test()
        self.stopped_by = signals.received
        return written

    def _start(self, first: int) -> Start:
        solver, net = self.solver, self.net
        count = sum(learnable.blob.numel() for learnable in self.optimizer.learnables)
        return Start(
            solver.source, net.spec.name, first, self.stop_at, self.seed, str(self.settings.device), self.ranks.world,
            count, tuple(self._notes),
        )  # fmt: skip

    def _iterate(self, signals: Signals) -> tuple[bool, bool]:
        """One update; whether any process was told to stop, and to write a snapshot."""
        started, at, solver = time.perf_counter(), self.updates, self.solver
        displayed = bool(solver.display and at % solver.display == 0)
        total = 0.0
        outputs: dict[str, list[float]] = {}
        for index in range(solver.iter_size):
            last = index + 1 == solver.iter_size
            done = self._pass(index, displayed and last, displayed and solver.debug_info)
            if done is not None:
                total += done[0]
                outputs = done[1] or outputs
        told = torch.tensor([total, signals.stop, signals.save], dtype=torch.float64, device=self.settings.device)
        total, stop, save = self.ranks.total(told).tolist()
        loss = total / solver.iter_size
        if not math.isfinite(loss):
            with self._autocast():  # no losses shared: the other ranks may be somewhere else by now
                raise self._stopped(blame(self.net, at, loss, self._suspect))
        learnables = self.optimizer.learnables
        self.ranks.add_up([learnable.blob.grad for learnable in learnables if learnable.blob.grad is not None])
        try:
            check_gradients(learnables, at)
        except NotFinite as error:
            raise self._stopped(error) from None
        with self._moving:
            self._at_rest = None
        rate = self.optimizer.step(at, self._debug.update if self._debug is not None and displayed else None)
        self._losses.append(loss)
        self.updates += 1
        smoothed = sum(self._losses) / len(self._losses)
        took = time.perf_counter() - started
        self._tell("iterated", Iteration(at, loss, smoothed, rate, took, displayed, outputs))
        return bool(stop), bool(save)

    def _pass(self, index: int, displayed: bool, debugged: bool) -> tuple[float, dict[str, list[float]]] | None:
        """Forward and backward of one pass; its loss (this process's share) and the outputs if they are displayed."""
        passes = self.solver.iter_size
        mine = self._division.mine(index, passes)
        if not mine and not self._masks.draws:
            self._feeds.skip()
            return None
        batch = self._feeds.next()
        shapes, rows = self._division.whole(batch)
        masks = self._masks.draw(shapes, rows)
        if not mine:
            return None
        batch = nets.to_device(batch, self.settings.device)
        masks = nets.to_device(masks, self.settings.device)
        debug = self._debug if debugged else None
        with self._division.losses(self.net):  # backward, too: it computes losses again between kept activations
            with nullcontext() if debug is None else debug.forward(), self._autocast():
                blobs = self._runner(**batch, masks=masks, blobs=None if displayed or debugged else ())
            loss = self._checked(blobs, batch, masks)
            assert blobs.loss is not None
            blobs.loss.backward()
        if debug is not None:
            debug.backward(self.optimizer.learnables)
        if index + 1 == passes and self._picture_due():
            self._tell("pictured", self.updates, sample_pictures(self.net, batch, masks))
        return loss, self._shown(blobs) if displayed else {}

    def _picture_due(self) -> bool:
        wanted = self.ranks.first and any(watcher.wants_pictures for watcher in self._watchers)
        return wanted and self.updates % max(1, self.stop_at // PICTURES) == 0

    def _checked(self, blobs: Blobs, batch: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> float:
        """The loss as a number; ValueError where there is none that anything can learn from."""
        if blobs.loss is None:
            raise ValueError(f"{self.net.spec.source}: has no loss in phase TRAIN; there is nothing to train for")
        loss = blobs.loss.item()
        if not math.isfinite(loss):
            self._suspect = batch, masks
        if not blobs.loss.requires_grad:
            raise ValueError(f"{self.net.spec.source}: no learnable blob with lr_mult above 0 leads to its loss")
        return loss

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.amp is None:
            return nullcontext()
        return torch.autocast(self.settings.device.type, AMP[self.settings.amp])

    def _shown(self, blobs: Blobs) -> dict[str, list[float]]:
        """The net's outputs as numbers, those of the whole batch."""
        shown = {}
        for name, value in blobs.items():
            value = value.detach().float()
            if self._division.by_rows and name in self._loss_tops:
                value = self.ranks.total(value)
            shown[name] = value.reshape(-1).tolist()
        return shown

    def _test_if_due(self) -> None:
        # A snapshot of just now was taken before this test: a run that goes on from it begins with the test, too.
        interval = self.solver.test_interval
        if interval and self.updates % interval == 0 and (self.updates > 0 or self.solver.test_initialization):
            self._test()

    def _test(self) -> None:
        for index, test in enumerate(self._tests):
            self._tell("tested", self.updates, index, test.run())

    def save(self) -> Snapshot:
        """Write a snapshot of the present state; the first rank does so for all.

        Returns:
            Its files.
        """
        files = snapshot_files(self.prefix, self.updates, self.solver.snapshot_format)
        if self.ranks.first:
            self._write(files, self._extras())
            self._tell("saved", files)
        return files

    def _write(self, files: Snapshot, extras: Mapping[str, Any]) -> None:
        history = self.optimizer.history()
        state = SolverState(self.updates, str(files.model), self.optimizer.schedule.current_step, history)
        write_snapshot(files, self.net, state, extras)

    def _extras(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "data": self._feeds.state_dict(),
            "tests": [test.feeds.state_dict() for test in self._tests],
            "losses": list(self._losses),
        }

    def _stopped(self, error: NotFinite) -> NotFinite:
        """The error, once what was learned before it is saved; nothing is where the weights are lost, too."""
        blobs = [learnable.blob for learnable in self.optimizer.learnables]
        if self.updates == 0 or not all(bool(torch.isfinite(blob).all()) for blob in blobs):
            return error
        return NotFinite(
            f"{error}; {self._saved_for(self._extras()) if self.ranks.first else 'the first process saves'}"
        )

    def _rescued(self, before: Mapping[str, Any], error: LostRank) -> LostRank:
        """A snapshot of the last finished update, by every process that is left: they write the same bytes."""
        return LostRank(f"{error}; {self._saved_for(before)}")

    def _last_words(self) -> str:
        """The same from another thread, while the main one waits for a process that is stuck; what was done."""
        # On CUDA the copy of a blob would wait behind the collective.
        with self._moving:
            if self._at_rest is None or self.settings.device.type != "cpu":
                return ""
            return self._saved_for(self._at_rest)

    def _saved_for(self, extras: Mapping[str, Any]) -> str:
        files = snapshot_files(self.prefix, self.updates, self.solver.snapshot_format)
        self._write(files, extras)
        return f"{self.updates} updates are done and saved, go on with --snapshot {files.state}"

    def _tell(self, event: str, *facts: Any) -> None:
        if self.ranks.first:
            for watcher in self._watchers:
                getattr(watcher, event)(*facts)

    def close(self) -> None:
        """End the data layers' processes and tell the watchers."""
        for feeds in (self._feeds, *(test.feeds for test in self._tests)):
            feeds.close()
        for watcher in self._watchers:
            watcher.closed()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
