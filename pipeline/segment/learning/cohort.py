"""Training cases of a cohort: its restored anchors, with labels that people drew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import files, images, status
from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import read_manifest
from pipeline.paths import Results, Unit
from pipeline.segment.cascade.volume import canonical
from pipeline.segment.learning.cases import Case, check_labels
from pipeline.training import data

NAME = "cohort"
LICENCE = "the cohort's own images; weights inherit their terms of use"
ANCHOR = "T1w"


def cases(results: Path, pattern: str, known: Sequence[int]) -> list[Case]:
    """Cases of the splits ``train`` and ``val`` that have labels.

    Args:
        results: results folder; stage superres has ended.
        pattern: path of a session's labels with ``{subject}`` and ``{session}``; in the space of
            the session's anchor, on any grid. Sessions without such a file are passed over.
        known: labels that are learned.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT, E-LABELS, E-IMG-*, E-CONFIG-VALUE for other braces.
    """
    place = Results(results)
    found = []
    for side, units in zip(("", "val"), data.sides(read_manifest(place.manifest)), strict=True):
        for unit in units:
            path = _path(pattern, unit)
            ended = status.read(place, unit, "superres")
            if path.is_file() and ended is not None and ended.status == "ok":
                found.append(_case(place, unit, path, known, side))
    return found


def _path(pattern: str, unit: Unit) -> Path:
    try:
        return Path(pattern.format(subject=unit.subject, session=unit.session))
    except (KeyError, IndexError, ValueError) as error:
        what = f"segment.learning.cohort_labels: {pattern} has other braces than the known ones"
        hint = "Write {subject} and {session} where they belong"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint) from error


def _case(place: Results, unit: Unit, path: Path, known: Sequence[int], side: str) -> Case:
    source = place.image("superres", unit, ANCHOR, space=ANCHOR, desc="superres")
    image = images.read_image(source)
    labels = images.resample(images.read_labels(path), image, labels=True)
    check_labels(labels, known, path)
    digest = files.sha256(path)[:16] + files.sha256(source)[:16]
    return Case(
        f"{NAME}/{unit.name}", canonical(labels), (canonical(image),), digest, side,
        f"{NAME}/{unit.subject}",
    )  # fmt: skip
