"""Training scans of a results folder: what superres left of the splits train and val."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline import images, status
from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import read_manifest
from pipeline.paths import Results, Unit
from pipeline.synthesize import samples
from pipeline.synthesize.learning.cases import Raw, Scan, digest, make, thickness
from pipeline.training import data

NAME = "cohort"
LICENCE = "the cohort's own images; weights inherit their terms of use"


def read(results: Path, spacing: float, margin: float, share: float) -> list[Scan]:
    """Every session whose superres ended well; a session that can't be used is told and left out.

    Where the manifest puts nobody into ``val``, some of the training subjects with the most
    contrasts validate.

    Args:
        results: results folder.
        spacing: of the grid, mm.
        margin: rim around the brain, mm.
        share: of the training subjects that validate where the manifest names none.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT, E-MANIFEST.
    """
    place = Results(results)
    train, validation = data.sides(read_manifest(place.manifest))
    found = {}
    for split, units in (("train", train), ("val", validation)):
        for unit in units:
            scan = _of(place, unit, spacing, margin)
            if scan is not None:
                found[unit] = replace(scan, split=split)
    return _with_validation(list(found.values()), share)


def _with_validation(scans: list[Scan], share: float) -> list[Scan]:
    richest: dict[str, int] = {}
    for scan in scans:
        richest[scan.subject] = max(richest.get(scan.subject, 0), len(scan.contrasts))
    # those with most contrasts come last: they can judge every target
    people = sorted(richest, key=lambda subject: (richest[subject], subject))
    if any(scan.split == "val" for scan in scans) or len(people) < 2:
        return scans
    later = people[len(people) - max(1, math.ceil(share * len(people))) :]
    return [replace(s, split="val") if s.subject in later else s for s in scans]


def _of(place: Results, unit: Unit, spacing: float, margin: float) -> Scan | None:
    ended = status.read(place, unit, "superres")
    session = None
    if ended is not None and ended.status == "ok":
        session = samples.read_session(place, unit, margin)
    if session is None:
        return None
    try:
        return make(_raw(place, session), spacing, margin)
    except VoxelwayError as error:
        print(f"left out of the training: {error}", file=sys.stderr)
        return None


def _raw(place: Results, session: samples.Session) -> Raw:
    unit = session.unit
    start = f"space-{session.anchor}"
    given = {
        suffix: place.image("superres", unit, suffix, space=session.anchor, desc="superres")
        for suffix in _anchor_first(list(session.sources), session.anchor)
    }
    natives = {}
    for suffix in given:
        path = place.image("denoise", unit, suffix, desc="denoised")
        native = images.read_image(path)
        thick = thickness(native, path)
        if thick > 0:
            back = samples.to_anchor(place, session, suffix).GetInverse()
            natives[suffix] = (native, back, thick)
    return Raw(
        f"{NAME}/{unit.name} {start}", f"{NAME}/{unit.subject}",
        {suffix: images.read_image(path) for suffix, path in given.items()},
        session.mask, natives, None, digest(list(given.values())),
    )  # fmt: skip


def _anchor_first(suffixes: Sequence[str], anchor: str) -> list[str]:
    return sorted(suffixes, key=lambda suffix: (suffix != anchor, suffix))
