"""Generated training cases: what a generator's bundle makes of the cases of one side of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.scene import Variety
from pipeline.synthesize.augmentation import generate

#: Entries of ``segment.learning.augmentation`` that need a bundle.
GENERATORS = ("gan", "one_shot")


def variety(learning: Mapping[str, Any]) -> Variety:
    """What the classical augmentation does; nothing where it is not asked for."""
    if "classical" in learning["augmentation"]:
        return Variety.of(learning["variety"])
    return Variety.none()


def bundles(learning: Mapping[str, Any]) -> dict[str, Path]:
    """Generator → its bundle, of those that are asked for.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for one without a bundle.
    """
    found = {}
    for name in learning["augmentation"]:
        if name not in GENERATORS:
            continue
        path = str(learning["augmentation_models"].get(name, ""))
        if not path:
            what = f"segment.learning.augmentation has {name} and no bundle of it"
            hint = f"Set segment.learning.augmentation_models.{name}"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        found[name] = Path(path)
    return found


def cases(
    learning: Mapping[str, Any],
    side: tuple[Sequence[Case], Sequence[Case]],
    known: Sequence[int],
    seed: int,
) -> list[list[Case]]:
    """Generated cases, one list a generator.

    Args:
        learning: section ``segment.learning``.
        side: cases to train on and to validate on; only the first are made use of.
        known: labels that are learned.
        seed: of the samples.

    Raises:
        VoxelwayError: E-CONFIG-VALUE without a bundle, or for label maps without images;
            E-TRAIN-SPLIT when a generator was trained on a case that is validated on here; those
            of :func:`pipeline.synthesize.augmentation.generate.make`.
    """
    wanted = bundles(learning)
    if wanted and not side[0][0].images:
        what = "Generated cases are of no use where images are drawn from label maps"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Take gan and one_shot out")
    held = [case.digest for case in side[1]]
    count, scans = int(learning["augmentation_cases"]), learning["augmentation_scans"]
    return [
        generate.make(path, name, side[0], scans, known, count, seed, held)
        for name, path in wanted.items()
    ]


def digest(groups: Sequence[Sequence[Case]]) -> str:
    """One hash of all generated cases."""
    names = ",".join(case.digest for group in groups for case in group)
    return hashlib.sha256(names.encode()).hexdigest()
