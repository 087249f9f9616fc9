"""Cases from a generator's bundle, for the training of a segmenter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment.learning.cases import Case
from pipeline.synthesize.augmentation.kinds import KINDS, ONE_SHOT, STAGE, Kind, Made, Sources, kind

if TYPE_CHECKING:
    from torch import nn

#: Cases that are made for one that the critic does not reject, at most.
TRIES = 4


def make(
    path: Path,
    asked: str,
    cases: Sequence[Case],
    scans: Sequence[Mapping[str, Any]],
    known: Sequence[int],
    count: int,
    seed: int,
    held_out: Sequence[str] = (),
) -> list[Case]:
    """Generated cases.

    Args:
        path: bundle.
        asked: ``gan`` for any adversarial generator, or ``one_shot``.
        cases: labelled ones, to train on.
        scans: entries of scans without labels, which ``one_shot`` takes shapes and looks of; those
            that they validate on are left out.
        known: labels that are learned.
        count: of cases.
        seed: the same seed gives the same cases, on a CPU.
        held_out: digests of cases that the generator must not have been trained on.

    Raises:
        VoxelwayError: E-MODEL-INPUT for a bundle of something else, other labels or contrasts;
            E-TRAIN-SPLIT when it was trained on a case that is held out; those of
            :func:`pipeline.bundles.networks.load`.
    """
    from pipeline.bundles import networks
    from pipeline.synthesize.augmentation import samples

    loaded = networks.load(path, STAGE)
    about = loaded.metadata["inputs"]
    _check(path, asked, about, cases, known, held_out)
    others = [one for one in samples.scans(scans) if not one.side] if asked == ONE_SHOT else []
    sources = Sources(about, tuple(known), list(cases), others)
    name = str(about["generator"])
    weights = str(loaded.metadata["weights"]["sha256"])
    found = []
    for number in range(count):
        made = accepted(kind(name), loaded.networks, sources, [seed, 7, number])
        told = f"{weights} {seed} {number} {[one.digest for one in (*cases, *others)]}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        found.append(as_case(made, sources, f"{name}/{number}", digest))
    return found


def accepted(
    generator: Kind, networks: Mapping[str, nn.Module], sources: Sources, seed: Sequence[int]
) -> Made:
    """A case that the critic takes for as real as real ones, or the best of a few."""
    threshold = float(sources.section.get("least_score", float("-inf")))
    best: Made | None = None
    for attempt in range(TRIES):
        made = generator.make(networks, sources, np.random.default_rng([*seed, attempt]))
        if not made.score < threshold:
            return made
        if best is None or made.score > best.score:
            best = made
    assert best is not None
    return best


def as_case(made: Made, sources: Sources, name: str, digest: str) -> Case:
    """Images in the intensities of the training's cases, labels by their numbers."""
    values = np.asarray([0, *sources.known], np.uint16)[made.classes]
    ranges = sources.section["ranges"]
    pictures = tuple(
        images.like((low + (one + 1.0) / 2.0 * (high - low)).astype(np.float32), made.grid)
        for one, (low, high) in zip(made.image, ranges, strict=True)
    )
    return Case(name, images.like(values, made.grid), pictures, digest)


def _check(
    path: Path,
    asked: str,
    about: Mapping[str, Any],
    cases: Sequence[Case],
    known: Sequence[int],
    held_out: Sequence[str],
) -> None:
    found = str(about.get("generator", ""))
    if found not in KINDS or (found == ONE_SHOT) != (asked == ONE_SHOT):
        what = f"The bundle is {found or 'no generator'}, {asked} was asked for"
        hint = "`voxelway train synthesize` with synthesize.augmentation.generator writes one"
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(path), hint=hint)
    if list(about["labels"]) != list(known) or len(about["ranges"]) != len(cases[0].images):
        what = (
            f"The generator is of labels {about['labels']} and {len(about['ranges'])} contrasts, "
            f"the training of labels {list(known)} and {len(cases[0].images)}"
        )
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(path), hint="Train it on such cases")
    both = set(about["trained_on"]) & set(held_out)
    if both:
        what = f"The generator was trained on {len(both)} of {len(held_out)} validation cases"
        hint = "Name the same `validation` cases in synthesize.augmentation.data"
        raise VoxelwayError("E-TRAIN-SPLIT", what, where=str(path), hint=hint)
