"""Trains every method on the cases of a fold, and scores what it makes of the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import files
from pipeline.errors import VoxelwayError
from tests.benchmarks import launch
from tests.benchmarks.launch import JobError
from tests.benchmarks.segment import cases
from tests.benchmarks.segment.cases import Case

PEER, OURS = "nnunet", "voxelway"
#: Lines of the table: who trained, and what differs in the segmentation.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "nnunet mirrored": (PEER, {"mirroring": True}),
    "nnunet": (PEER, {"mirroring": False}),
    "voxelway": (OURS, {}),
}
COLUMNS = (
    "seconds", "peak_mb", "batch", "plan_s", "train_s", "train_peak_mb", "version", "error",
)  # fmt: skip


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share.

    Attributes:
        peers: Python of the peers' environment.
        cores: threads of each process.
        steps: of the training.
        seed: of the split and the trainings.
        config: of our training, whose data and steps are replaced; None derives all from the data.
        work: folder for what passes between the processes.
    """

    peers: Path
    cores: int
    steps: int
    seed: int
    config: Path | None
    work: Path


def columns(labels: Sequence[int]) -> tuple[str, ...]:
    """Of the long table."""
    return ("method", "case", *(f"dice_{label}" for label in labels), *COLUMNS)


def run(
    train: Sequence[Case],
    test: Sequence[Case],
    chosen: Sequence[str],
    setup: Setup,
    each: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run methods on a fold.

    Args:
        train: cases to train on.
        test: cases to segment.
        chosen: of :data:`METHODS`.
        setup: the rest.
        each: called with a row of :func:`columns` a method and case; ``error`` is empty where it
            went well.
    """
    labels = cases.labels_of([*train, *test])
    for side, some in (("train", train), ("test", test)):
        cases.lay_out(some, setup.work / side)
    trained: dict[str, Mapping[str, Any]] = {}
    for name in chosen:
        who, options = METHODS[name]
        try:
            if who not in trained:
                trained[who] = _trained(who, labels, setup)
            rows = _segmented(name, who, options, test, labels, setup)
        except JobError as error:
            each({"method": name, "case": "all", "error": str(error)})
            continue
        for row in rows:
            each({"method": name, **trained[who], **row})


def _trained(who: str, labels: Sequence[int], setup: Setup) -> dict[str, Any]:
    content: dict[str, Any] = {"task": "train", "data": _path(setup.work / "train")}
    content |= {"labels": list(labels), "steps": setup.steps}
    if who == OURS:
        shutil.rmtree(setup.work / OURS, ignore_errors=True)
        content |= {"config": _path(_config(labels, setup)), "bundle": _path(_bundle(setup))}
    else:
        shutil.rmtree(setup.work / PEER, ignore_errors=True)
    cost, facts = _job(who, content, setup.work / "out" / f"{who}-train", setup)
    return {"train_peak_mb": cost["peak_mb"], "version": cost["version"], **facts}


def _segmented(
    name: str, who: str, options: Mapping[str, Any], test: Sequence[Case], labels: Sequence[int],
    setup: Setup,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row a case."""
    paths = [_path(setup.work / "test" / "images" / f"{case.name}{cases.ENDING}") for case in test]
    content: dict[str, Any] = {"task": "segment", "images": paths, **options}
    if who == OURS:
        content["bundle"] = _path(_bundle(setup))
    out = setup.work / "out" / name.replace(" ", "-")
    cost, seconds = _job(who, content, out, setup)
    rows = []
    for case in test:
        row = {"case": case.name, "seconds": seconds[case.name], "peak_mb": cost["peak_mb"]}
        try:
            found = cases.dice(out / f"{case.name}{cases.ENDING}", case.labels, labels)
        except VoxelwayError as error:
            rows.append({**row, "error": str(error)})
            continue
        scores = {f"dice_{label}": value for label, value in found.items()}
        rows.append({**row, **scores, "error": ""})
    return rows


def _job(
    who: str, content: Mapping[str, Any], out: Path, setup: Setup
) -> tuple[dict[str, Any], dict[str, float]]:
    """Cost and facts of one process.

    Raises:
        JobError: when it failed.
    """
    shared = {"cores": setup.cores, "seed": setup.seed, "work": _path(setup.work / who)}
    peers = setup.peers if who == PEER else None
    cost = launch.run("segment", {**content, **shared}, out, peers)
    facts: dict[str, float] = json.loads((out / "facts.json").read_text(encoding="utf-8"))
    return cost, facts


def _bundle(setup: Setup) -> Path:
    return setup.work / OURS / "bundle"


def _config(labels: Sequence[int], setup: Setup) -> Path:
    """Configuration of our training: one network, the fold's cases, so many steps."""
    given: dict[str, Any] = {}
    if setup.config is not None:
        given = yaml.safe_load(setup.config.read_text(encoding="utf-8"))
    section = given.get("segment", {})
    learning = {"levels": [{"name": "fine"}], **section.get("learning", {})}
    if "labels" not in learning:
        learning["labels"] = _path(_table(labels, setup))
    learning |= {"folds": 1, "networks": 1, "data": [_data(setup)]}
    training = {**section.get("training", {}), "steps": setup.steps}
    section = {"method": "cascade", **section, "learning": learning, "training": training}
    content = {"seed": setup.seed, "segment": section}
    path = setup.work / OURS / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _data(setup: Setup) -> dict[str, Any]:
    return {
        "name": "bench",
        "folder": _path(setup.work / "train"),
        "labels": f"labels/*{cases.ENDING}",
        "images": {"T1w": f"images/{{case}}{cases.ENDING}"},
        "licence": "as the data's",
    }


def _table(labels: Sequence[int], setup: Setup) -> Path:
    """Names of the labels where the configuration has none."""
    rows = [
        {"index": label, "name": f"label-{label}", "color": f"#{(label * 2654435761) % 2**24:06X}"}
        for label in labels
    ]
    path = setup.work / "labels_dseg.tsv"
    files.write_tsv(path, ("index", "name", "color"), rows)
    return path


def _path(path: Path) -> str:
    # links stay links: the names of the cases are theirs
    return str(path.absolute())
