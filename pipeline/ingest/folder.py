"""``voxelway convert``: a DICOM folder indexed, gated and converted into a BIDS dataset."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import files, runner, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import stage
from pipeline.ingest.index import QUARANTINE, Index, read_index
from pipeline.ingest.manifest import Row, read_manifest, units
from pipeline.ingest.rest import path_of
from pipeline.methods import stage_code
from pipeline.paths import Results
from pipeline.task import UnitTask

Told = dict[str, Any]


class Tree(Results):
    """A BIDS dataset that stands alone: what a results folder keeps in rawdata is at its root."""

    @property
    def rawdata(self) -> Path:
        """The BIDS dataset."""
        return self.root


def convert_folder(dicom: Path, out_dir: Path, params: Mapping[str, Any]) -> int:
    """Index, gate and convert a DICOM folder into a BIDS dataset of its own.

    Args:
        dicom: folder of any depth; it is only read.
        out_dir: BIDS dataset with quarantine.tsv; OUT_DIR-private beside it keeps the key.
        params: the section ``ingest`` of the configuration, and ``seed``.

    Returns:
        0 when every image was converted (localizers and the like are left out), 5 when some were
        refused, 3 when nothing could be converted.
    """
    tree = Tree(out_dir)
    index: Index = read_index(dicom, tree, params)
    rows = read_manifest(tree.manifest)
    code = runner.run_units(stage, units(rows), runner.Setup(tree, params))
    failed = _failures(tree, rows) + _convert_rest(index, tree, params)
    if failed:
        files.write_tsv(tree.quarantine, QUARANTINE, [*failed, *files.read_tsv(tree.quarantine)])
    if len(failed) == len(rows) + len(index.rest):
        return Exit.REFUSED
    if failed or any(not item.left_out for item in index.refusals):
        print(f"some series were refused; {tree.quarantine} tells why", file=sys.stderr)
        return Exit.SOME
    return code


def _failures(tree: Tree, rows: Sequence[Row]) -> list[Told]:
    """Rows of the quarantine for images that passed the gate and could not be converted."""
    failed = []
    for row in rows:
        if tree.image("ingest", row.unit, row.suffix).is_file():
            continue
        state = status.read(tree, row.unit, "ingest")
        said = [] if state is None else [*state.warnings, f": {state.code}: {state.message}"]
        texts = [text.partition(": ")[2] for text in said if text.startswith((row.suffix, ": "))]
        code, _, message = (texts or ["D-CONVERT: No image came out"])[0].partition(": ")
        told = f"{row.suffix}: {message}"
        failed.append(_told(code, told, row.subject, row.series, row.files))
    return failed


def _told(code: str, message: str, subject: str, series: str, count: int) -> Told:
    values = (code, message, subject, series, count)
    return dict(zip(QUARANTINE, values, strict=True))


def _convert_rest(index: Index, tree: Tree, params: Mapping[str, Any]) -> list[Told]:
    """Convert what the protocol leaves out; rows of the quarantine for what could not be."""
    failed = []
    code = stage_code(stage.NAME, params)
    for unit, source in index.rest:
        task = UnitTask(stage.NAME, params, code, base=tree.root, results=tree, unit=unit)
        path = path_of(tree, unit, source)
        try:
            _may_have_a_face(params)
            stage.convert_one(task, source, path)
        except VoxelwayError as error:
            if error.exit != Exit.REFUSED:
                raise
            print(f"{unit.name}: {error}", file=sys.stderr)
            told = f"{source.suffix}: {error.message}"
            count = len(source.files)
            failed.append(_told(error.code, told, unit.subject, source.series, count))
    return failed


def _may_have_a_face(params: Mapping[str, Any]) -> None:
    """Refuse what defacing was not made for: diffusion, function, other parts of the body.

    Raises:
        VoxelwayError: D-FACE when faces are to be taken out.
    """
    if params["deface"]["method"] != "none":
        hint = "Set ingest.deface.method to none to convert it with its face"
        raise VoxelwayError("D-FACE", "Only contrasts of the protocol are defaced", hint=hint)
