"""What passes between the segment stage and its methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import SimpleITK as sitk  # noqa: N813

#: Tissue classes of every method, in the order of their labels 1, 2, 3.
TISSUES = ("CSF", "GM", "WM")
LESION = "lesion"
CORE = "lesion-core"

#: Tissues from the darkest to the brightest, by contrast: where no atlas tells the classes apart.
BRIGHTNESS: dict[str, tuple[str, str, str]] = {
    "T1w": ("CSF", "GM", "WM"),
    "T2w": ("WM", "GM", "CSF"),
    "PDw": ("WM", "GM", "CSF"),
    "FLAIR": ("CSF", "WM", "GM"),
}


@dataclass(frozen=True)
class Case:
    """One subject as a method sees it; all images on one grid.

    Attributes:
        images: suffix → contrast; the first is the anchor.
        mask: brain mask.
        priors: tissue → probability in 0..1 from the atlas; empty where there is no atlas.
        coarse: tissue → posterior of the coarse level in 0..1.
        synthetic: suffixes of the contrasts that were made, not acquired.
    """

    images: Mapping[str, sitk.Image]
    mask: sitk.Image
    priors: Mapping[str, sitk.Image]
    coarse: Mapping[str, sitk.Image]
    synthetic: frozenset[str] = field(default_factory=frozenset)

    @property
    def anchor(self) -> str:
        """Suffix of the first contrast."""
        return next(iter(self.images))


@dataclass(frozen=True)
class Segmentation:
    """Result of a method.

    Attributes:
        labels: uint8, indices of :data:`pipeline.labels.TISSUES`, 0 outside the mask.
        posteriors: name of a label → probability in 0..1; they sum to 1 inside the mask.
        facts: entries for the sidecar, CamelCase.
    """

    labels: sitk.Image
    posteriors: Mapping[str, sitk.Image]
    facts: Mapping[str, object] = field(default_factory=dict)


class Method(Protocol):
    """A segmentation method of the fine level."""

    def __call__(self, case: Case) -> Segmentation:
        """Label one subject."""
