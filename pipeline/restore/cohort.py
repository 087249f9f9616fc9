"""Training volumes of a results folder: what a stage wrote for the splits train and val."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline import status
from pipeline.ingest.manifest import read_manifest
from pipeline.paths import Results, Unit
from pipeline.restore.volumes import Source, Volume, read_volume
from pipeline.training import data

NAME = "cohort"
LICENCE = "the cohort's own images; weights inherit their terms of use"


def sides(
    results: Path, stage: str, desc: str, window: tuple[float, float] | None = None
) -> tuple[list[Volume], list[Volume]]:
    """Every contrast that a stage wrote, each on its own grid, of the training subjects.

    Args:
        results: results folder.
        stage: the stage; units where it did not end well are left out.
        desc: entity of its images.
        window: see :class:`pipeline.restore.volumes.Source`.

    Returns:
        Volumes of the splits ``train`` and ``val``.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT, E-IMG-*, E-SIGNAL.
    """
    place = Results(results)
    found: tuple[list[Volume], list[Volume]] = ([], [])
    for number, units in enumerate(data.sides(read_manifest(place.manifest))):
        for unit in units:
            ended = status.read(place, unit, stage)
            if ended is not None and ended.status == "ok":
                found[number].extend(_of(place, unit, stage, desc, window))
    return found


def _of(
    place: Results, unit: Unit, stage: str, desc: str, window: tuple[float, float] | None
) -> Iterator[Volume]:
    folder = place.anat(stage, unit)
    for path in sorted(folder.glob(f"*_desc-{desc}_*.nii.gz")):
        contrast = path.name.removesuffix(".nii.gz").rsplit("_", 1)[-1]
        source = Source(NAME, folder, path.name, contrast, LICENCE, window=window)
        own = place.image(stage, unit, "mask", space=contrast, desc="brain")
        mask = own if own.is_file() else place.image(stage, unit, "mask", desc="brain")
        yield read_volume(source, path, unit.subject, mask if mask.is_file() else None)
