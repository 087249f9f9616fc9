"""Trains and scores; a row a finished training, so that a run that was cut goes on."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import cli, config, files
from pipeline.errors import VoxelwayError
from pipeline.runner import seed_everything
from tests.benchmarks import meter
from tests.benchmarks.augment import arms
from tests.benchmarks.augment.arms import Split
from tests.benchmarks.segment import cases
from tests.benchmarks.segment.cases import ENDING, Case

COLUMNS = ("size", "arm", "seed", "steps", "train_s", "dice", "cases")
Row = dict[str, str]


@dataclass(frozen=True)
class Setup:
    """What all trainings of a run share.

    Attributes:
        base: configuration whose section ``segment`` is trained.
        steps: of a segmenter.
        generator_steps: of each generator.
        changes: of ``segment.learning``.
        section: further keys of ``synthesize.augmentation``.
        work: folder for what passes between the steps.
        table: the long table, TSV.
    """

    base: Path
    steps: int
    generator_steps: Mapping[str, int]
    changes: Mapping[str, Any]
    section: Mapping[str, Any]
    work: Path
    table: Path


def run(
    splits: Mapping[int, Split],
    chosen: Sequence[str],
    seeds: Sequence[int],
    setup: Setup,
    told: Callable[[str], None],
) -> list[Row]:
    """Run what the table does not have yet.

    Args:
        splits: size → its cases.
        chosen: arms.
        seeds: of the segmenters.
        setup: the rest.
        told: called with a line a training.

    Returns:
        Rows of the table, those of earlier runs too.
    """
    base = yaml.safe_load(setup.base.read_text(encoding="utf-8"))
    rows = read(setup.table)
    for size, one in splits.items():
        folder = setup.work / f"size-{size}"
        arms.lay_out(one, folder)
        for seed in seeds:
            for arm in chosen:
                if any(_key(row) == (str(size), arm, str(seed), str(setup.steps)) for row in rows):
                    continue
                for name in set(arms.ARMS[arm]) & set(arms.GENERATORS):
                    _generator(base, name, one, folder, setup)
                rows.append(_trained(base, arm, one, folder, seed, setup))
                files.write_tsv(setup.table, COLUMNS, rows)
                told(f"{size} cases, {arm}, seed {seed}: {float(rows[-1]['dice']):.4f}")
    return rows


def read(table: Path) -> list[Row]:
    """Rows of a table; none where there is no file."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def scores(row: Mapping[str, str]) -> dict[str, float]:
    """Mean Dice of each test case."""
    pairs = (item.split("=") for item in row["cases"].split(";"))
    return {name: float(value) for name, value in pairs}


def _key(row: Mapping[str, str]) -> tuple[str, str, str, str]:
    return row["size"], row["arm"], row["seed"], row["steps"]


def _generator(base: Any, name: str, one: Split, folder: Path, setup: Setup) -> None:
    out = arms.bundle_of(folder, name)
    if (out / "metadata.json").is_file():
        return
    steps = setup.generator_steps[name]
    content = arms.generator(base, name, one, folder, steps, setup.section)
    path = arms.write(content, folder / f"{name}.yaml")
    _command("train", "synthesize", "--config", str(path), "--out", str(out))


def _trained(base: Any, arm: str, one: Split, folder: Path, seed: int, setup: Setup) -> Row:
    content = arms.segmenter(base, arm, one, folder, setup.steps, seed, setup.changes)
    where = folder / f"{arm}-{seed}"
    path = arms.write(content, where / "config.yaml")
    bundle = where / "bundle"
    _, seconds = meter.timed(
        lambda: _command("train", "segment", "--config", str(path), "--out", str(bundle))
    )
    found = segmented(bundle, one.test, where / "labels", seed)
    shutil.rmtree(where / "labels")
    return {
        "size": str(len(one.train)), "arm": arm, "seed": str(seed), "steps": str(setup.steps),
        "train_s": f"{seconds:.1f}", "dice": f"{sum(found.values()) / len(found):.6f}",
        "cases": ";".join(f"{name}={value:.5f}" for name, value in found.items()),
    }  # fmt: skip


def segmented(bundle: Path, test: Sequence[Case], out: Path, seed: int) -> dict[str, float]:
    """Mean Dice over the labels of each case.

    Raises:
        VoxelwayError: of the stage.
    """
    from pipeline.segment import stage
    from pipeline.task import Task

    params = {**config.section("segment", {"method": "cascade"}), "seed": seed}
    seed_everything(seed)
    prepared = stage.prepare(params, bundle)
    found = {}
    for case in test:
        made = out / f"{case.name}{ENDING}"
        row = {"input": str(case.image), "output": str(made)}
        stage.run_file(Task("segment", params), prepared, row)
        each = cases.dice(made, case.labels, cases.labels_of([case]))
        found[case.name] = sum(each.values()) / len(each)
    return found


def _command(*arguments: str) -> None:
    code = cli.main(list(arguments))
    if code:
        raise VoxelwayError("E-TOOL", f"voxelway {' '.join(arguments[:2])} ended with {code}")
