"""What the parts of the stage share while they judge one unit: paths, images, truth, the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import files, images, status
from pipeline.errors import VoxelwayError
from pipeline.evaluate import geometry, quality
from pipeline.evaluate.table import Table
from pipeline.evaluate.truth import Truth
from pipeline.labels import TISSUES, Label, beside
from pipeline.paths import sidecar
from pipeline.task import UnitTask

Mask = NDArray[np.bool_]


@dataclass
class Case:
    """One unit with everything that is known about it.

    Attributes:
        notes: what the table's sidecar tells besides the numbers.
    """

    task: UnitTask
    truth: Truth | None
    table: Table
    notes: dict[str, Any] = field(default_factory=dict)
    _images: dict[Path, sitk.Image] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop the images that were read, so that memory does not grow with the stages."""
        self._images.clear()

    def ok(self, stage: str) -> bool:
        """Whether a stage ended well for this unit."""
        found = status.read(self.task.results, self.task.unit, stage)
        return found is not None and found.status == "ok"

    def image(self, path: Path) -> sitk.Image:
        """Read an image once."""
        if path not in self._images:
            self._images[path] = self.task.read(path)
        return self._images[path]

    def labels(self, path: Path) -> sitk.Image:
        """Read labels once."""
        if path not in self._images:
            self._images[path] = self.task.read_labels(path)
        return self._images[path]

    def facts(self, path: Path) -> Mapping[str, Any]:
        """The sidecar of a file; empty without one."""
        described = sidecar(path)
        content = files.read_json(described) if described.is_file() else {}
        return content if isinstance(content, dict) else {}

    @cached_property
    def anchor(self) -> str:
        """Suffix of the anchor contrast, as preprocess chose it."""
        mask = self.task.results.image("preprocess", self.task.unit, "mask", desc="brain")
        anchor = self.facts(mask).get("Anchor", "")
        if not anchor:
            raise VoxelwayError("E-IMG-INPUT", "No anchor contrast is known", where=str(mask))
        return str(anchor)

    def brain(self, suffix: str) -> sitk.Image:
        """Brain mask of a contrast on its native lattice."""
        space = "" if suffix == self.anchor else suffix
        place, unit = self.task.results, self.task.unit
        return self.labels(place.image("preprocess", unit, "mask", desc="brain", space=space))

    def common_brain(self) -> sitk.Image:
        """Brain mask on the common grid."""
        place, unit = self.task.results, self.task.unit
        return self.labels(place.image("superres", unit, "mask", desc="brain", space=self.anchor))

    def to_contrast(self, suffix: str) -> sitk.Transform | None:
        """Estimated transform from points of the common grid to points of ``suffix``'s space."""
        if suffix == self.anchor:
            return None
        place = self.task.results
        path = place.transform("preprocess", self.task.unit, suffix, self.anchor, extension=".mat")
        return sitk.ReadTransform(str(self.task.use(path)))

    def dseg(self, desc: str = "") -> sitk.Image:
        """Labels on the common grid: fine, or ``coarse``."""
        place, unit = self.task.results, self.task.unit
        return self.labels(place.image("segment", unit, "dseg", space=self.anchor, desc=desc))

    @cached_property
    def labelling(self) -> tuple[Label, ...]:
        """What the labels of :meth:`dseg` are, from the table beside them."""
        place, unit = self.task.results, self.task.unit
        return beside(place.image("segment", unit, "dseg", space=self.anchor)) or TISSUES

    @cached_property
    def true_labelling(self) -> tuple[Label, ...]:
        """What the labels of the truth are."""
        return beside(self._truth().path("dseg.nii.gz")) or TISSUES

    def tissues(self, suffix: str, grid: sitk.Image) -> tuple[Mask, Mask] | None:
        """Grey and white matter on a contrast's lattice; None when segment did not end well."""
        if not self.ok("segment"):
            return None
        forward = self.to_contrast(suffix)
        back = None if forward is None else forward.GetInverse()
        labels = sitk.GetArrayFromImage(geometry.onto(self.dseg(), grid, back, labels=True))
        grey, white = (
            np.isin(labels, [label.index for label in self.labelling if label.tissue == tissue])
            for tissue in ("GM", "WM")
        )
        return grey, white

    def air(self, image: sitk.Image) -> tuple[Mask, Mask]:
        """Head and air of a native image."""
        return quality.head_and_air(image)

    def true_native(self, suffix: str, grid: sitk.Image) -> sitk.Image:
        """The noise-free acquisition of a contrast, on the lattice of ``grid``."""
        return geometry.onto(self._true(f"native_{suffix}.nii.gz"), grid)

    def true_common(self, suffix: str, grid: sitk.Image) -> sitk.Image:
        """The noise-free isotropic contrast on the common grid."""
        truth = self._truth()
        return geometry.onto(self._true(f"{suffix}.nii.gz"), grid, truth.rigid_back(self.anchor))

    def true_labels(self, name: str, suffix: str, grid: sitk.Image) -> sitk.Image:
        """True labels or brain mask on a grid in the space of ``suffix``."""
        truth = self._truth()
        labels = self._true(name, labels=True)
        return geometry.onto(labels, grid, truth.rigid_back(suffix), labels=True)

    def true_brain(self, suffix: str, grid: sitk.Image) -> Mask:
        """The true brain on a grid in the space of ``suffix``, (z, y, x)."""
        return images.bool_array(self.true_labels("brain_mask.nii.gz", suffix, grid))

    def _truth(self) -> Truth:
        if self.truth is None:
            raise RuntimeError("asked for the truth of a unit that has none")
        return self.truth

    def _true(self, name: str, *, labels: bool = False) -> sitk.Image:
        path = self._truth().path(name)
        return self.labels(path) if labels else self.image(path)
