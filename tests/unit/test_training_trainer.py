"""The trainer: learns, keeps the best, resumes exactly, refuses what goes wrong."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import VoxelwayError
from pipeline.training import devices
from pipeline.training.data import SeededSamples
from pipeline.training.progress import Progress
from pipeline.training.trainer import Fitted, fit

from . import training_cases as cases
from .training_cases import Duel, draw, plan, train


def same(one: Fitted, two: Fitted) -> bool:
    pairs = [
        (values, two.weights[name][key])
        for name, network in one.weights.items()
        for key, values in network.items()
    ]
    return all(np.array_equal(a, b) for a, b in pairs)


def without_times(done: Fitted) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in done.history]


def test_it_learns_and_repeats_itself(tmp_path: Path) -> None:
    done, again = (train(tmp_path / name, plan()) for name in "ab")
    first, last = (done.history[i]["validation/error"] for i in (0, -1))
    assert last < 0.5 * first
    assert done.score == min(row["validation/error"] for row in done.history)
    assert [row["step"] for row in done.history] == [10, 20, 30, 40]
    assert same(done, again) and without_times(done) == without_times(again)
    lines = (tmp_path / "a" / "training.csv").read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("step,seconds,generator/learning_rate")
    assert any((tmp_path / "a" / "tensorboard").iterdir())


@pytest.mark.parametrize("when", ["step 13", "validation of step 20", "step 40"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_cut_by_sigterm_it_ends_where_an_uncut_one_does(
    tmp_path: Path, when: str, shuffled: bool
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    count = 30 if shuffled else None
    chosen = plan(accumulate=2)
    validation = SeededSamples(draw, 1, 8)
    whole = fit(Duel(), SeededSamples(draw, 0, count), validation, chosen, tmp_path / "whole")

    calls = {"train": 0, "validate": 0}

    def counted(kind: str, at: int) -> Any:
        def sample(rng: np.random.Generator, index: int) -> dict[str, Any]:
            calls[kind] += 1
            if calls[kind] == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return draw(rng, index)

        return sample

    # a step takes 8 samples, a validation 8
    at_train = {"step 13": 8 * 12 + 3, "step 40": 8 * 39 + 1}.get(when, -1)
    at_validate = 8 + 4 if when.startswith("validation") else -1
    data = SeededSamples(counted("train", at_train), 0, count)
    judged = SeededSamples(counted("validate", at_validate), 1, 8)
    with pytest.raises(SystemExit) as ended:
        fit(Duel(), data, judged, chosen, tmp_path / "cut")
    assert ended.value.code == 143
    before = dict(calls)
    resumed = fit(Duel(), data, judged, chosen, tmp_path / "cut")
    assert same(whole, resumed)
    assert without_times(whole) == without_times(resumed)
    # it went on and did not begin anew
    steps_left = {"step 13": 27, "validation of step 20": 20, "step 40": 0}[when]
    assert calls["train"] - before["train"] == 8 * steps_left
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    done = train(tmp_path, plan())

    def never(rng: np.random.Generator, index: int) -> dict[str, Any]:
        raise AssertionError("a sample was drawn")

    again = train(tmp_path, plan(), train_data=SeededSamples(never, 0))
    assert same(done, again) and again.steps == 40


@pytest.mark.parametrize("change", ["plan", "identity", "nothing"])
def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, change: str) -> None:
    train(tmp_path, plan(steps=10, clip=3.0 if change == "plan" else 0.0), Duel("a"))
    drawn: list[int] = []

    def counted(rng: np.random.Generator, index: int) -> dict[str, Any]:
        drawn.append(index)
        return draw(rng, index)

    recipe = Duel("b" if change == "identity" else "a")
    train(tmp_path, plan(steps=10), recipe, SeededSamples(counted, 0))
    assert drawn == ([] if change == "nothing" else list(range(40)))


def test_workers_and_devices_do_not_count(tmp_path: Path) -> None:
    done = train(tmp_path, plan(steps=10))
    assert same(done, train(tmp_path / "other", plan(steps=10, workers=2)))


def test_a_pickle_in_place_of_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    (tmp_path / "last.pt").write_bytes(pickle.dumps(Evil()))
    train(tmp_path, plan(steps=10))
    torch.save({"evil": Evil()}, tmp_path / "last.pt")
    train(tmp_path, plan(steps=10))
    assert not (tmp_path / "executed").exists()


def test_others_get_no_gradient_while_a_player_moves(tmp_path: Path) -> None:
    seen: set[tuple[str, str, bool]] = set()

    class Watched(Duel):
        def losses(self, networks: Any, player: str, batch: Any) -> Any:
            for name, network in self.networks.items():
                seen.update((player, name, p.requires_grad) for p in network.parameters())
            return super().losses(networks, player, batch)

    train(tmp_path, plan(steps=4), Watched())
    assert seen == {
        ("generator", "generator", True),
        ("generator", "critic", False),
        ("critic", "generator", False),
        ("critic", "critic", True),
    }


def test_a_frozen_network_stays_as_it_is(tmp_path: Path) -> None:
    recipe = Duel()
    frozen = nn.Linear(1, 1)
    frozen.requires_grad_(False)
    before = frozen.weight.clone()
    recipe.networks["critic"] = frozen
    recipe.players = recipe.players[:1]
    done = train(tmp_path, plan(steps=5), recipe)
    assert np.array_equal(done.weights["critic"]["weight"], before.numpy())
    assert not frozen.weight.requires_grad


class Given(Duel):
    """The validation scores are those of a list."""

    def __init__(self, scores: list[float], mode: Any = "min") -> None:
        super().__init__()
        self.given, self.mode, self.calls = scores, mode, 0

    def scores(self, networks: Any, batch: Any) -> dict[str, float]:
        self.calls += 1
        return {"error": self.given[(self.calls - 1) // 8]}


def test_early_stop_keeps_the_best(tmp_path: Path) -> None:
    recipe = Given([0.5, 0.3, 0.4, 0.35, 0.1])
    done = train(tmp_path, plan(steps=100, patience=2), recipe)
    assert (done.step, done.steps, done.stopped_early) == (20, 40, True)
    assert done.score == pytest.approx(0.3)
    uncut = train(tmp_path / "b", plan(steps=100), Given([1.0] * 10))
    assert not uncut.stopped_early and uncut.steps == 100


def test_larger_may_be_better(tmp_path: Path) -> None:
    done = train(tmp_path, plan(), Given([0.5, 0.7, math.nan, 0.6], "max"))
    assert (done.step, done.score) == (20, pytest.approx(0.7))


def test_a_metric_that_is_never_finite(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-DIVERGED.*error was never finite"):
        train(tmp_path, plan(), Given([math.nan] * 4))


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    class Diverging(Duel):
        calls = 0

        def losses(self, networks: Any, player: str, batch: Any) -> Any:
            losses = super().losses(networks, player, batch)
            self.calls += player == "generator"
            return {**losses, "loss": losses["loss"] * (math.inf if self.calls == 7 else 1.0)}

    with pytest.raises(VoxelwayError) as raised:
        train(tmp_path, plan(), Diverging())
    assert raised.value.code == "E-TRAIN-DIVERGED"
    assert "generator at step 7" in raised.value.what
    assert "training.learning_rate (0.05)" in raised.value.hint


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to "
                      "allocate 4294967296 bytes. Error code 12"), None),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0"), "20.00"),
        (MemoryError("Unable to allocate 1.50 GiB for an array"), "1.50"),
    ],
)  # fmt: skip
def test_out_of_memory_has_the_numbers(tmp_path: Path, error: Exception, asked: str | None) -> None:
    class Large(Duel):
        def losses(self, networks: Any, player: str, batch: Any) -> Any:
            raise error

    with pytest.raises(VoxelwayError) as raised:
        train(tmp_path, plan(), Large())
    assert raised.value.code == "E-MEMORY"
    assert f"{asked or '4.00'} GiB were asked for" in raised.value.what
    assert "training.batch is 4" in raised.value.what and "x 4x3, y 4" in raised.value.what
    assert "training.batch" in raised.value.hint and "patch" in raised.value.hint


def test_other_faults_are_not_taken_for_memory(tmp_path: Path) -> None:
    class Wrong(Duel):
        def losses(self, networks: Any, player: str, batch: Any) -> Any:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(tmp_path, plan(), Wrong())


def test_no_samples(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-DATA.*training"):
        train(tmp_path, plan(), train_data=SeededSamples(draw, 0, 0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_half_precision_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(VoxelwayError, match="E-GPU"):
        train(tmp_path, plan(precision=16))


def test_bf16_runs_with_losses_in_single_precision(tmp_path: Path) -> None:
    kinds = set()

    class Watched(Duel):
        def losses(self, networks: Any, player: str, batch: Any) -> Any:
            kinds.add(networks["generator"](batch["x"]).dtype)
            return super().losses(networks, player, batch)

    done = train(tmp_path, plan(precision="bf16"), Watched())
    assert kinds == {torch.float32} and done.score < 0.5


def test_the_scale_of_half_precision_is_part_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_precision", lambda *_: devices._Mixed("16-mixed", "cpu"))
    chosen = plan(validate_every=5, clip=1.0)
    whole = train(tmp_path / "whole", chosen)

    def stopping(rng: np.random.Generator, index: int) -> dict[str, Any]:
        if index == 50:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(rng, index)

    with pytest.raises(SystemExit):
        train(tmp_path / "cut", chosen, train_data=SeededSamples(stopping, 0))
    saved = torch.load(tmp_path / "cut" / "last.pt", weights_only=True)
    assert saved["players"]["scale"]["scale"] > 0
    assert same(whole, train(tmp_path / "cut", chosen))
    assert whole.score < whole.history[0]["validation/error"]


def test_a_batch_that_the_devices_do_not_divide(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("of machines without a GPU")
    with pytest.raises(VoxelwayError, match=r"E-CONFIG-VALUE.*4 samples.*3 devices"):
        train(tmp_path, plan(devices=3))


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, cases.__file__, str(tmp_path), "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(root)}, timeout=120, check=False
    )
    assert done.returncode == 0
    assert len((tmp_path / "training.csv").read_text().splitlines()) == 5
    alone = train(tmp_path / "alone", plan(clip=1.0, accumulate=2), Duel(plain=True))
    expected = alone.weights["generator"]["weight"]
    assert np.allclose(np.load(tmp_path / "map.npy"), expected, atol=1e-5)


def test_the_learning_rate_rises_and_falls() -> None:
    schedule = plan(steps=10, warmup=2)
    rates = [schedule.rate(step) for step in range(1, 11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)  # half of the eight steps after the warm-up
    assert plan(schedule="constant", warmup=0).rate(40) == 1.0


def test_a_log_has_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))  # ten seconds a step
    monkeypatch.setattr("pipeline.training.progress.time.monotonic", lambda: float(next(clock)))
    stream = io.StringIO()
    shown = Progress(100, 110, True, stream)
    for number in range(101, 111):
        shown.step(number, 0.5)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 101/110  loss 0.5  10 s/step  0:01:30 left"
    assert [line.split()[1] for line in lines] == ["101/110", "104/110", "107/110", "110/110"]
    silent = io.StringIO()
    Progress(0, 10, False, silent).say("nothing")
    assert silent.getvalue() == ""
