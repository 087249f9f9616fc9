"""Everything that the pipeline recorded about one unit, read with tolerance.

A page is made whatever happened before it, so a file that is absent or damaged becomes a sentence
on the page and not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import files, images, status
from pipeline.errors import CODES, VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit, sidecar
from pipeline.report import measures
from pipeline.report.figures.geometry import as_type
from pipeline.task import UnitTask


def left_out(code: str) -> bool:
    """Whether a code of the quarantine means that the object was not wanted, not that it is bad."""
    return code in CODES and CODES[code].meaning.endswith("left out")


@dataclass
class Record:
    """Files of one unit.

    ``task`` notes every file that is read, for the page's own sidecar.
    """

    task: UnitTask
    _images: dict[Path, sitk.Image] = field(default_factory=dict)

    @property
    def results(self) -> Results:
        """Paths of the run."""
        return self.task.results

    @property
    def unit(self) -> Unit:
        """Subject and session."""
        return self.task.unit

    @cached_property
    def statuses(self) -> dict[str, status.Status]:
        """Stage → status of the stages that ran; a damaged one counts as a failure."""
        found = {}
        for stage in STAGES:
            try:
                one = status.read(self.results, self.unit, stage)
            except (VoxelwayError, TypeError) as error:
                one = status.Status(
                    self.unit.subject,
                    self.unit.session,
                    stage,
                    "failed",
                    "E-FILE-READ",
                    f"The status can't be read: {error}",
                )
            if one is not None:
                found[stage] = one
        return found

    def ran(self, stage: str) -> bool:
        """Whether a stage ended well."""
        return stage in self.statuses and self.statuses[stage].status == "ok"

    @cached_property
    def numbers(self) -> list[measures.Number]:
        """The unit's table of numbers, empty when there is none or it can't be read."""
        try:
            return measures.read(self.results.unit_metrics(self.unit))
        except VoxelwayError:
            return []

    @cached_property
    def series(self) -> list[manifest.Row]:
        """The unit's rows of the manifest."""
        try:
            rows = manifest.read_manifest(self.results.manifest)
        except VoxelwayError:
            return []
        return [row for row in rows if row.unit == self.unit]

    @cached_property
    def quarantined(self) -> list[dict[str, str]]:
        """The subject's rows of the quarantine."""
        try:
            rows = files.read_tsv(self.results.quarantine)
        except VoxelwayError:
            return []
        return [row for row in rows if row.get("subject") == self.unit.subject]

    def contrasts(self, stage: str, *, desc: str = "", space: str = "") -> dict[str, Path]:
        """Images that a stage wrote, suffix → path."""
        found = self.task.contrasts(stage, desc=desc, space=space)
        return {suffix: path for suffix, path in found.items() if suffix not in ("mask", "dseg")}

    @cached_property
    def anchor(self) -> str:
        """Suffix of the contrast that gives the space; empty when preprocess did not tell."""
        mask = self.results.image("preprocess", self.unit, "mask", desc="brain")
        return str(self.facts(mask).get("Anchor", ""))

    def facts(self, path: Path) -> Mapping[str, Any]:
        """Sidecar of a file; empty when there is none."""
        try:
            content = files.read_json(sidecar(path))
        except VoxelwayError:
            return {}
        return content if isinstance(content, dict) else {}

    def image(self, path: Path) -> sitk.Image:
        """A scalar image, read once."""
        if path not in self._images:
            self._images[path] = (
                as_type(self._as_written(path), sitk.sitkFloat32)
                if self._described(path)
                else self.task.read(path, min_slices=1)
            )
        return self._images[path]

    def labels(self, path: Path) -> sitk.Image:
        """Labels or a mask, read once."""
        if path not in self._images:
            self._images[path] = (
                as_type(self._as_written(path), sitk.sitkUInt16)
                if self._described(path)
                else self.task.read_labels(path)
            )
        return self._images[path]

    def field(self, path: Path) -> sitk.Image:
        """A displacement field, 3-vectors in LPS mm."""
        if self._described(path):
            return self._as_written(path)
        self.task.use(path)
        return images.read_field(path)

    def _described(self, path: Path) -> bool:
        hashes = self.facts(path).get("Sha256")
        return isinstance(hashes, Mapping) and path.name in hashes

    def _as_written(self, path: Path) -> sitk.Image:
        """An image of the pipeline: its hash tells that it is whole, its stage has checked it.

        Looking for damage as in a foreign file would unpack it a second time.
        """
        return sitk.ReadImage(str(self.task.use(path)))

    def template_image(self, folder: Path, name: str) -> sitk.Image:
        """An image of the template, which belongs to the run and not to the unit."""
        path = folder / name
        if path not in self._images:
            self._images[path] = images.read_image(path)
        return self._images[path]

    def mask_on(self, suffix: str) -> Path:
        """The brain mask on the native lattice of a contrast, as preprocess wrote it."""
        space = "" if suffix == self.anchor else suffix
        return self.results.image("preprocess", self.unit, "mask", desc="brain", space=space)

    def moves(self, suffix: str) -> sitk.Transform:
        """Transform that brings a contrast onto the anchor's space (anchor → contrast points)."""
        if suffix == self.anchor:
            return sitk.Transform(3, sitk.sitkIdentity)
        path = self.results.transform("preprocess", self.unit, suffix, self.anchor,
                                      extension=".mat")  # fmt: skip
        if not path.is_file():
            what = f"No transform from {suffix} to {self.anchor}"
            raise VoxelwayError("E-IMG-MISSING", what, where=self.unit.name)
        return sitk.ReadTransform(str(path))
