"""Converts the images of one unit from DICOM to BIDS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import archives, convert, geometry, tool
from pipeline.ingest.source import Source, read_sources
from pipeline.methods import create
from pipeline.task import UnitTask

NAME = "ingest"
REQUIRES: tuple[str, ...] = ()


def prepare(params: Mapping[str, Any], model: Path | None) -> Any:
    """Look for dcm2niix; what takes faces out, None when they stay.

    Raises:
        VoxelwayError: E-TOOL when it is missing.
    """
    tool.program()
    method = params["deface"]["method"]
    return None if method == "none" else create(NAME, method, params)


def run_unit(task: UnitTask, prepared: Any) -> None:
    """Convert every image of a unit; one that fails does not stop the others.

    Raises:
        VoxelwayError: the code of the first failure, when no image could be converted.
    """
    failures = []
    sources = read_sources(task.results, task.unit)
    faces = None if prepared is None else Faces(prepared)
    for suffix in sources if faces is None else prepared.order(list(sources)):
        try:
            path = task.results.image(NAME, task.unit, suffix)
            convert_one(task, sources[suffix], path, usable=True, faces=faces)
        except VoxelwayError as error:
            if error.exit != Exit.REFUSED:
                raise
            failures.append(error)
            task.warn(f"{suffix}: {error}")
    if not sources:
        raise VoxelwayError("E-IMG-INPUT", "The unit has no series", where=task.unit.name)
    if len(failures) == len(sources):
        raise failures[0]


class Faces:
    """Takes the faces out of the images of one unit; the first head gives the place of the cut."""

    def __init__(self, defacer: Any) -> None:
        self.defacer = defacer
        self.head: Any = None

    def remove(self, suffix: str, nifti: bytearray) -> dict[str, Any]:
        """Deface an image in place; entries of its sidecar."""
        if self.head is None:
            self.head = self.defacer.find_head(suffix, nifti)
        if self.head is None:
            return {"Defaced": False, "DefaceNote": "skull-stripped before it came"}
        facts: dict[str, Any] = self.defacer.deface(self.head, suffix, nifti)
        return facts


def convert_one(
    task: UnitTask,
    source: Source,
    path: Path,
    *,
    usable: bool = False,
    faces: Faces | None = None,
) -> None:
    """Convert one image and write it with its sidecar.

    Args:
        task: gets the warnings.
        source: record of the index.
        path: ``.nii.gz`` of the image.
        usable: whether to refuse what later stages do.
        faces: takes the face out; None leaves it.

    Raises:
        VoxelwayError: as :func:`pipeline.ingest.convert.convert`, E-IMG-*.
    """
    log = task.results.private / "logs" / f"{task.unit.name}_{source.suffix}.log"
    with archives.unpacked(source) as plain:
        done = convert.convert(plain, task.params, log)
        task.inputs = {f"series {source.series}": _digest(plain)}
    if usable:
        geometry.usable(done.nifti, path.name)
    hidden = {} if faces is None else faces.remove(source.suffix, done.nifti)
    for text in done.warnings:
        task.warn(f"{source.suffix}: {text}")
    convert.write_nifti(done.nifti, path, int(task.params["compression"]))
    task.describe(path, Suffix=source.suffix, Series=source.series, **done.facts, **hidden)


def _digest(source: Source) -> str:
    """SHA-256 over the contents of the files in the order of the slices; no name is kept."""
    digest = hashlib.sha256()
    for item in source.files:
        with Path(item.path).open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
