"""Converts the images of one unit from DICOM to BIDS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import archives, convert, geometry, tool
from pipeline.ingest.source import Source, read_sources
from pipeline.task import UnitTask

NAME = "ingest"
REQUIRES: tuple[str, ...] = ()


def prepare(params: Mapping[str, Any], model: Path | None) -> str:
    """Look for dcm2niix.

    Raises:
        VoxelwayError: E-TOOL when it is missing.
    """
    return tool.program()


def run_unit(task: UnitTask, prepared: str) -> None:
    """Convert every image of a unit; one that fails does not stop the others.

    Raises:
        VoxelwayError: the code of the first failure, when no image could be converted.
    """
    failures = []
    sources = read_sources(task.results, task.unit)
    for suffix, source in sources.items():
        try:
            _convert(task, suffix, source)
        except VoxelwayError as error:
            if error.exit != Exit.REFUSED:
                raise
            failures.append(error)
            task.warn(f"{suffix}: {error}")
    if not sources:
        raise VoxelwayError("E-IMG-INPUT", "The unit has no series", where=task.unit.name)
    if len(failures) == len(sources):
        raise failures[0]


def _convert(task: UnitTask, suffix: str, source: Source) -> None:
    path = task.results.image(NAME, task.unit, suffix)
    convert_one(task, source, path, usable=True)


def convert_one(task: UnitTask, source: Source, path: Path, *, usable: bool = False) -> None:
    """Convert one image and write it with its sidecar.

    Args:
        task: gets the warnings.
        source: record of the index.
        path: ``.nii.gz`` of the image.
        usable: whether to refuse what later stages do.

    Raises:
        VoxelwayError: as :func:`pipeline.ingest.convert.convert`, E-IMG-*.
    """
    log = task.results.private / "logs" / f"{task.unit.name}_{source.suffix}.log"
    with archives.unpacked(source) as plain:
        done = convert.convert(plain, task.params, log)
        task.inputs = {f"series {source.series}": _digest(plain)}
    if usable:
        geometry.usable(done.nifti, path.name)
    for text in done.warnings:
        task.warn(f"{source.suffix}: {text}")
    convert.write_nifti(done.nifti, path, int(task.params["compression"]))
    task.describe(path, Suffix=source.suffix, Series=source.series, **done.facts)


def _digest(source: Source) -> str:
    """SHA-256 over the contents of the files in the order of the slices; no name is kept."""
    digest = hashlib.sha256()
    for item in source.files:
        with Path(item.path).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
