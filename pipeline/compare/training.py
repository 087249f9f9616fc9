"""Subjects that a run's own models were trained on: their numbers are too good to compare."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline import models
from pipeline.bundles import METADATA
from pipeline.compare.pairs import Numbers
from pipeline.compare.runs import facts
from pipeline.errors import VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit


@dataclass(frozen=True)
class Seen:
    """Sessions of the training split that a stage worked on with a model of the same run."""

    run: str
    stage: str
    units: tuple[Unit, ...]


def seen(results: Results, run: str, units: Iterable[Unit]) -> list[Seen]:
    """What a run's own models had seen; nothing where there is no sound manifest.

    Args:
        results: the run.
        run: ``A`` or ``B``.
        units: sessions that are compared.
    """
    try:
        trained = _of_split(results, "train")
    except VoxelwayError:
        return []
    chosen = [unit for unit in units if unit.subject in trained]
    found = []
    for stage in STAGES:
        folder = results.root / "models" / stage
        known = {models.digest(path.parent)[:12] for path in folder.glob(f"*/{METADATA}")}
        mine = [
            unit for unit in chosen if known and facts(results, stage, unit).get("model") in known
        ]
        if mine:
            found.append(Seen(run, stage, tuple(mine)))
    return found


def _of_split(results: Results, split: str) -> set[str]:
    rows = manifest.read_manifest(results.manifest)
    return {row.subject for row in rows if row.split == split}


def only(numbers: Numbers, split: str, runs: Collection[Results]) -> Numbers:
    """The numbers of the subjects that are of a split in every run.

    Raises:
        VoxelwayError: E-MANIFEST or E-FILE-READ when a manifest can't be read.
    """
    wanted = set.intersection(*(_of_split(results, split) for results in runs))
    return {
        key: {unit: value for unit, value in values.items() if unit.subject in wanted}
        for key, values in numbers.items()
    }
