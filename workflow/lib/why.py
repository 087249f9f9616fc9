"""`voxelway why SUBJECT`: what would run for a subject, and because of what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import config as configuration
from pipeline import decisions, made, models, status
from pipeline.errors import VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import LATER, STAGES, Results, Unit
from workflow.lib import settings as run_settings

#: What a change of each part of the basis is called; earlier stages keep their names.
WORDS = {
    "code": "code changed",
    "config": "configuration changed",
    "model": "model changed",
    "decision": "a decision at the QC page changed",
    "source": "DICOM changed",
    "template": "template changed",
}


def print_reasons(subject: str, config: Path, results: str | None) -> int:
    """Print one line a session and stage: whether it would run, and why.

    Args:
        subject: pseudonym, with or without ``sub-``; a session may follow as ``sub-X_ses-Y``.
        config: the configuration of the run.
        results: overrides the configuration's results folder.

    Raises:
        VoxelwayError: E-MANIFEST without an index or for an unknown subject, and what is wrong with
            the configuration.
    """
    raw = configuration.read(config)
    found = run_settings.check({**raw, "results": results} if results else raw)
    place = Results(Path(found["results"]))
    name = subject.removeprefix("sub-").partition("_")
    units = [
        unit
        for unit in manifest.units(manifest.read_manifest(place.manifest))
        if unit.subject == name[0] and name[2] in ("", f"ses-{unit.session}")
    ]
    if not units:
        hint = f"`voxelway status {place.root}` lists the subjects"
        raise VoxelwayError("E-MANIFEST", f"{subject!r} is not in the manifest", hint=hint)
    for unit in units:
        for stage, reason in reasons(place, found, unit):
            print(f"{unit.name}\t{stage}\t{'runs: ' + reason if reason else 'stands'}")
    return 0


def reasons(results: Results, settings: Mapping[str, Any], unit: Unit) -> Iterator[tuple[str, str]]:
    """Every stage with the reason why it would run for a unit; an empty one when it stands."""
    running: list[str] = []
    for stage in STAGES:
        reason = _reason(results, settings, unit, stage)
        before = [name for name in running if stage in LATER[name]]
        if not reason and before:
            reason = f"after {before[-1]}, unless that comes out as it was"
        if reason:
            running.append(stage)
        yield stage, reason


def _reason(results: Results, settings: Mapping[str, Any], unit: Unit, stage: str) -> str:
    ended = status.read(results, unit, stage)
    if ended is None:
        return "has not run"
    record = made.read(results, unit, stage)
    if not record.basis:
        # a stage that failed or was passed over keeps no record
        return "" if ended.status != "ok" else "no record of what it was made from"
    now = basis_now(results, settings, unit, stage)
    return ", ".join(_told(name, record.basis, now) for name in made.changed(record, now))


def _told(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name != "packages":
        return WORDS.get(name, f"{name} changed")
    old, new = ({*basis.get(name, "").split(", ")} - {""} for basis in (before, now))
    versions = dict(text.rsplit(" ", 1) for text in old - new)
    told = []
    for text in sorted(new - old, key=str.lower):
        package, version = text.rsplit(" ", 1)
        told.append(f"{package} {versions.pop(package, 'new')} → {version}")
    told += [f"{package} {version} → not used" for package, version in sorted(versions.items())]
    return f"packages changed ({', '.join(told)})"


def basis_now(
    results: Results, settings: Mapping[str, Any], unit: Unit, stage: str
) -> dict[str, str]:
    """What a stage would be made from, if it ran now with this configuration."""
    bundle = run_settings.Model()
    if stage in settings["models"]:
        bundle = run_settings.model_of(settings, results, stage)
    trained = bundle.trained and bundle.bundle is not None and bundle.bundle.is_dir()
    model = models.identity(stage, settings[stage], bundle.bundle) if trained else bundle.digest
    return made.basis(
        results,
        unit,
        stage,
        json.loads(run_settings.slice_of(settings, stage)),
        code=run_settings.code_of(settings, stage),
        model=model,
        decision=decisions.of(results).mark(unit, stage),
    )
