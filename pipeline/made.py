"""What a stage made for a unit, from what: so that what is right already is not made again.

Snakemake runs a job again when an input was written again, even with the same content, and a job on
a shard of units when one of them needs it. The record that stands beside each status tells whether
the work would come out the same: code, parameters, model, decisions, and what the earlier stages
gave. Only then, and when every output stands unharmed, the stage is passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline import files, status
from pipeline.errors import VoxelwayError
from pipeline.ingest import manifest
from pipeline.methods import stage_packages
from pipeline.paths import LATER, Results, Unit, sidecar

#: Stages that are made every time: they rest on more than their unit (truth, the other units).
ALWAYS = frozenset({"evaluate", "report"})
#: Stages that read the DICOM files, and the template: others rest on them by what those gave.
ON_SOURCE = frozenset({"ingest", "export"})
ON_TEMPLATE = frozenset({"register", "segment"})


@dataclass(frozen=True)
class Made:
    """The record of one stage of one unit.

    Attributes:
        basis: what the work rested on, name → digest; see :func:`basis`.
        outputs: path relative to the results folder → SHA-256.
        sidecars: those of the outputs that have one.
        status: the fields of the status it ended with.
    """

    basis: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    sidecars: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)


def basis(
    results: Results,
    unit: Unit,
    stage: str,
    params: Mapping[str, Any],
    *,
    code: str,
    model: str,
    decision: str,
) -> dict[str, str]:
    """Everything that decides what a stage makes for a unit.

    Returns:
        ``code``, ``config``, ``model``, ``decision``, every earlier stage, and for the stages that
        read them ``source`` (the DICOM series) and ``template`` → digest; ``packages`` → their
        versions. These are the names that `voxelway why` tells.
    """
    found = {
        "code": code,
        "packages": ", ".join(stage_packages(stage, params)),
        "config": _digest(json.dumps(dict(params), sort_keys=True, default=str)),
        "model": model,
        "decision": decision,
    }
    if stage in ON_SOURCE:
        found["source"] = _of_file(results.unit_source(unit))
    if stage in ON_TEMPLATE:
        found["template"] = _digest("".join(_of_file(path) for path in _templates(results)))
    for earlier, later in LATER.items():
        if stage in later and earlier not in ALWAYS:
            found[earlier] = _of_stage(results, unit, earlier)
    return found


def read(results: Results, unit: Unit, stage: str) -> Made:
    """The record of a stage; an empty one when there is none that can be used."""
    path = results.made(stage, unit)
    try:
        return Made(**files.read_json(path)) if path.is_file() else Made()
    except (VoxelwayError, TypeError):
        return Made()


def write(results: Results, unit: Unit, now: dict[str, str], ended: status.Status) -> None:
    """Keep the record of a stage that ended with this status."""
    described = [name for name in ended.outputs if sidecar(results.root / name).is_file()]
    made = Made(now, dict(ended.outputs), described, asdict(ended))
    files.write_json(results.made(ended.stage, unit), asdict(made))


def clear(results: Results, unit: Unit, stage: str) -> None:
    """Remove what an earlier run of this stage wrote for the unit.

    That is what its own account names and, since a run that was killed has left none, whatever
    stands in the stage's folder of images, which later stages list. The statuses of later stages go
    as well: should this run crash, they would tell of results that rest on nothing.
    """
    for later in LATER[stage]:
        results.status(later, unit).unlink(missing_ok=True)
    outputs = set(read(results, unit, stage).outputs)
    results.made(stage, unit).unlink(missing_ok=True)
    try:
        before = status.read(results, unit, stage)
    except (VoxelwayError, TypeError):
        before = None
    results.status(stage, unit).unlink(missing_ok=True)
    for name in sorted(outputs | set(before.outputs if before else ())):
        path = results.root / name
        path.unlink(missing_ok=True)
        sidecar(path).unlink(missing_ok=True)
    for folder in (results.anat(stage, unit), results.status(stage, unit).parent):
        files.sweep(folder)
    for path in results.anat(stage, unit).glob("*"):
        path.unlink(missing_ok=True)


def still(results: Results, stage: str, made: Made, now: Mapping[str, str]) -> status.Status | None:
    """The status of an earlier run that this one would repeat; None when it has to run.

    A stage that failed is tried again; an output that was changed or lost is made again.
    """
    if stage in ALWAYS or made.basis != now or made.status.get("status") != "ok":
        return None
    for name, digest in made.outputs.items():
        path = results.root / name
        if not path.is_file() or files.sha256(path) != digest:
            return None
    if not all(sidecar(results.root / name).is_file() for name in made.sidecars):
        return None
    return status.Status(**made.status)


def changed(made: Made, now: Mapping[str, str]) -> list[str]:
    """Names of what is not as it was when the record was written."""
    return sorted(name for name in {*made.basis, *now} if made.basis.get(name) != now.get(name))


def spoil(results: Results, unit: Unit, stage: str) -> None:
    """Let the next run make a stage of a unit again, because a file of it was found damaged.

    What rests on it loses its status as well: the workflow makes again what is missing on the way
    to something that is missing.
    """
    results.made(stage, unit).unlink(missing_ok=True)
    for name in (stage, *LATER[stage]):
        results.status(name, unit).unlink(missing_ok=True)
        for marker in results.shard(name, "x").parent.glob("*"):
            if marker.name == _shard(results, unit, int(marker.name.rpartition("of")[2])):
                marker.unlink()


def _shard(results: Results, unit: Unit, size: int) -> str:
    return manifest.first(manifest.read_manifest(results.manifest), unit).shard_name(size)


def _templates(results: Results) -> list[Path]:
    return sorted((results.root / "models" / "register").glob("*/description.json"))


def _of_stage(results: Results, unit: Unit, stage: str) -> str:
    """What an earlier stage gave: its outcome and its files, not when or how fast."""
    found = status.read(results, unit, stage)
    if found is None:
        return ""
    gave = {"status": found.status, "code": found.code, "outputs": found.outputs}
    return _digest(json.dumps(gave, sort_keys=True))


def _of_file(path: Path) -> str:
    return files.sha256(path) if path.is_file() else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
