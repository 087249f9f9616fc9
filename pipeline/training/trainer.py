"""The one trainer: runs a recipe by a plan, goes on after an interruption, keeps the best model."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.training import checkpoint, devices
from pipeline.training.checkpoint import BEST, LAST, Row, State
from pipeline.training.collapse import DIVERSITY, Watch
from pipeline.training.curve import as_csv
from pipeline.training.data import Order, collate, length_of
from pipeline.training.memory import Guard
from pipeline.training.plan import Plan
from pipeline.training.players import Players, seed_all
from pipeline.training.progress import Progress
from pipeline.training.recipe import Recipe
from pipeline.training.stopping import TERMINATED, Stop, ignore_in_worker

LOG = "training.csv"


@dataclass(frozen=True)
class Fitted:
    """What a training gave.

    Attributes:
        weights: of the best model: network → name → values.
        step: steps of the best model.
        score: its metric.
        steps: steps done.
        history: one row a validation: ``step``, ``seconds``, ``PLAYER/learning_rate``, mean losses
            since the last row as ``PLAYER/NAME``, scores as ``validation/NAME``.
        seconds: of the whole training, its interrupted parts included.
        peak_memory_mb: of the last part: of the GPU, or resident on the CPU.
        device: as ``cpu`` or the GPU's name.
        stopped_early: the metric had not become better for the plan's patience.
    """

    weights: dict[str, dict[str, NDArray[Any]]]
    step: int
    score: float
    steps: int
    history: list[Row]
    seconds: float
    peak_memory_mb: int
    device: str
    stopped_early: bool


def fit(
    recipe: Recipe,
    train_data: Dataset[Any],
    validation_data: Dataset[Any],
    plan: Plan,
    folder: Path,
    *,
    resume: bool = True,
) -> Fitted:
    """Train, or go on with a training that was interrupted.

    SIGTERM saves a checkpoint after the current step and ends the process with status 143; the
    same call goes on from there and gives, on a CPU, the weights of a training that was not cut.
    With several devices only the first process returns, the others end here.

    Args:
        recipe: networks, players, losses, scores.
        train_data: samples; see :class:`pipeline.training.data.SeededSamples`.
        validation_data: samples, a known number.
        plan: how long, how fast, on what.
        folder: for checkpoints (last.pt, best.pt), training.csv and TensorBoard's log.
        resume: go on from the folder's checkpoint if it is of the same recipe and plan.

    Raises:
        VoxelwayError: E-TRAIN-DIVERGED for a loss or metric that is not finite, E-TRAIN-COLLAPSED
            for a recipe that is watched, E-MEMORY, E-GPU, E-CONFIG-VALUE, E-TRAIN-DATA when a data
            set is empty, E-DISK-FULL, E-DIR-WRITE.
    """
    for name, data in (("training", train_data), ("validation", validation_data)):
        if length_of(data) == 0:
            raise VoxelwayError("E-TRAIN-DATA", f"There is no {name} sample")
    fabric = devices.launch(plan)
    with Stop() as stop, Guard(plan, fabric.device) as guard:
        training = _Training(fabric, recipe, plan, folder, stop, guard)
        try:
            if resume:
                training.restore()
            training.run(train_data, validation_data)
        finally:
            training.close()
    if training.fabric.global_rank > 0:
        sys.exit(0)
    if training.interrupted:
        sys.exit(TERMINATED)
    return training.fitted()


class _Training:
    def __init__(
        self, fabric: Fabric, recipe: Recipe, plan: Plan, folder: Path, stop: Stop, guard: Guard
    ) -> None:
        self.fabric, self.recipe, self.plan, self.folder = fabric, recipe, plan, folder
        self.stop, self.guard = stop, guard
        self.first_process = fabric.global_rank == 0
        self.mark = checkpoint.fingerprint(recipe, plan)
        devices.arrange(recipe.networks.values(), plan, fabric)
        self.players = Players(fabric, recipe, plan)
        self.state = State()
        self.watch: Watch | None = getattr(recipe, "watch", None)
        self.interrupted = False
        self._begun = time.monotonic()
        self._board: SummaryWriter | None = None

    @property
    def stopped_early(self) -> bool:
        return 0 < self.plan.patience <= self.state.stale

    def restore(self) -> None:
        saved = checkpoint.load(self.folder / LAST, self.mark)
        if saved is None:
            return
        for name, network in self.recipe.networks.items():
            network.load_state_dict(saved["networks"][name])
        self.players.restore(saved["players"])
        self.state = State(**saved["state"])

    def run(self, train_data: Dataset[Any], validation_data: Dataset[Any]) -> None:
        state, plan = self.state, self.plan
        progress = Progress(state.step, plan.steps, self.first_process)
        if self.first_process:
            self._board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=state.step + 1)
        if state.step:
            progress.say(f"going on after step {state.step}")
        batches = self._batches(train_data)
        try:
            self._validate_if_due(validation_data, progress)
            while state.step < plan.steps and not self.stopped_early and not self._asked():
                chosen = [next(batches) for _ in range(plan.accumulate)]
                self._step(chosen, progress)
                self._validate_if_due(validation_data, progress)
        finally:
            progress.close()
        if self._asked() and not self._done():
            self.interrupted = True
            self._save()
            progress.say(f"SIGTERM: saved at step {state.step}; the same command goes on from here")

    def _done(self) -> bool:
        over = self.state.step >= self.plan.steps or self.stopped_early
        return over and self.state.validated == self.state.step

    def _asked(self) -> bool:
        """Whether SIGTERM came to any of the processes."""
        if self.fabric.world_size == 1:
            return self.stop.asked
        flag = torch.tensor(float(self.stop.asked), device=self.fabric.device)
        return bool(self.fabric.all_reduce(flag, reduce_op="sum") > 0)

    def _step(self, batches: list[Any], progress: Progress) -> None:
        state = self.state
        self.guard.batch = batches[0]
        losses = self.players.step(state.step + 1, batches)
        state.step += 1
        for name, value in losses.items():
            state.add(name, value)
        if losses:
            progress.step(state.step, next(iter(losses.values())))
        if self._board is not None and state.step % max(self.plan.validate_every // 20, 1) == 0:
            for name, value in losses.items():
                self._board.add_scalar(f"step/{name}", value, state.step)
        if self.watch is not None:
            self.watch.step(state.step, losses, state.streaks)

    def _batches(self, data: Dataset[Any]) -> Iterator[Any]:
        plan, fabric = self.plan, self.fabric
        first, last = self.state.step * plan.accumulate, plan.steps * plan.accumulate
        order = Order(
            data, plan.batch, first, last, plan.seed, fabric.global_rank, fabric.world_size
        )
        for batch in self._loader(data, batch_sampler=order):
            yield fabric.to_device(batch)

    def _loader(self, data: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            data,
            num_workers=self.plan.workers,
            collate_fn=collate,
            pin_memory=self.fabric.device.type == "cuda",
            worker_init_fn=ignore_in_worker,
            # a generator of its own, or each loader would draw from the training's
            generator=torch.Generator().manual_seed(self.plan.seed),
            **options,
        )

    def _validate_if_due(self, data: Dataset[Any], progress: Progress) -> None:
        state, plan = self.state, self.plan
        due = state.step % plan.validate_every == 0 or state.step == plan.steps
        if not due or state.step == state.validated:
            return
        scores = self._scores(data)
        if scores is None:
            return
        self._judge(scores, progress)
        self._save()
        self._report(state.history[-1])

    def _scores(self, data: Dataset[Any]) -> dict[str, float] | None:
        """Mean scores over the validation samples; None when SIGTERM came meanwhile."""
        count, rank, world = length_of(data), self.fabric.global_rank, self.fabric.world_size
        assert count is not None
        mine = range(rank, count, world) if count >= world else range(count)
        seed_all(self.plan.seed, 0, rank)
        for network in self.players.networks.values():
            network.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for batch in self._loader(data, sampler=mine, batch_size=1):
                sample = self.guard.batch = self.fabric.to_device(batch)
                for name, value in self.recipe.scores(self.players.networks, sample).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                if world == 1 and self.stop.asked:
                    return None
            alike = self._diversity()
        totals = torch.tensor([*sums.values(), len(mine)], dtype=torch.float64)
        if world > 1:
            on_device = totals.float().to(self.fabric.device)
            totals = self.fabric.all_reduce(on_device, reduce_op="sum").double().cpu()
        return dict(zip(sums, (totals[:-1] / totals[-1]).tolist(), strict=True)) | alike

    def _diversity(self) -> dict[str, float]:
        """Of the made samples, the same ones on every process."""
        if self.watch is None:
            return {}
        seed_all(self.plan.seed, 0)
        found = self.watch.diversity(self.state.step, self.players.networks, self.state.streaks)
        return {} if found is None else {DIVERSITY: found}

    def _judge(self, scores: dict[str, float], progress: Progress) -> None:
        state, score = self.state, scores[self.recipe.metric]
        row = {"step": float(state.step), "seconds": round(self._seconds(), 3)}
        row |= self.players.rates() | state.means()
        row |= {f"validation/{name}": value for name, value in scores.items()}
        state.history.append(row)
        state.sums, state.validated = {}, state.step
        better = score > state.best_score if self.recipe.mode == "max" else score < state.best_score
        if math.isfinite(score) and (better or state.best_step == 0):
            state.best_step, state.best_score, state.stale = state.step, score, 0
            self._write(BEST, {"step": state.step, "score": score})
        else:
            state.stale += 1
        best = " (best)" if state.best_step == state.step else ""
        progress.say(f"step {state.step}  validation {self.recipe.metric} {score:.5g}{best}")

    def _save(self) -> None:
        seconds = self._seconds()
        content = {**vars(self.state), "seconds": seconds}
        self._write(LAST, {"players": self.players.state(), "state": content})

    def _write(self, name: str, content: dict[str, Any]) -> None:
        if not self.first_process:
            return
        weights = checkpoint.weights(self.recipe.networks)
        saved = {**content, "fingerprint": self.mark, "networks": weights}
        checkpoint.save(self.folder / name, saved)

    def _report(self, row: Row) -> None:
        if not self.first_process:
            return
        files.write_text(self.folder / LOG, as_csv(self.state.history))
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, self.state.step)
            self._board.flush()

    def _seconds(self) -> float:
        return self.state.seconds + time.monotonic() - self._begun

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
        if self.fabric.world_size > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def fitted(self) -> Fitted:
        best = checkpoint.load(self.folder / BEST, self.mark)
        if best is None or self.state.best_step == 0:
            what = f"The validation's {self.recipe.metric} was never finite"
            hint = "Lower training.learning_rate, or look at the validation data"
            raise VoxelwayError("E-TRAIN-DIVERGED", what, where=str(self.folder), hint=hint)
        weights = {
            name: {key: np.asarray(value) for key, value in tensors.items()}
            for name, tensors in best["networks"].items()
        }
        return Fitted(
            weights, int(best["step"]), float(best["score"]), self.state.step, self.state.history,
            round(self._seconds(), 1), devices.peak_memory_mb(self.fabric),
            devices.name(self.fabric), self.stopped_early,
        )  # fmt: skip
