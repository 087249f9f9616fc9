"""What passes between the segment stage and its methods.

There are two kinds: tissue methods label a crop around the brain, which a coarse level has found,
and head methods make everything of an image by themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import SimpleITK as sitk  # noqa: N813

from pipeline.labels import Label

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
        judged: suffix → made contrast that was acquired too; only lesions are compared in it.
    """

    images: Mapping[str, sitk.Image]
    mask: sitk.Image
    priors: Mapping[str, sitk.Image]
    coarse: Mapping[str, sitk.Image]
    synthetic: frozenset[str] = field(default_factory=frozenset)
    judged: Mapping[str, sitk.Image] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Output:
    """What the stage writes for one subject; images are on one grid, that of the input.

    Attributes:
        labels: label image.
        coarse: label image of the coarse level.
        entropy: of the posteriors, share of the maximum, 0..1.
        table: every label that can occur.
        volumes: rows of volumes.tsv.
        columns: of that table.
        facts: entries for the sidecar, CamelCase.
        warnings: what the reader of the QC page has to know, one sentence each.
    """

    labels: sitk.Image
    coarse: sitk.Image
    entropy: sitk.Image
    table: tuple[Label, ...]
    volumes: Sequence[Mapping[str, Any]]
    columns: tuple[str, ...]
    facts: Mapping[str, Any]
    warnings: Sequence[str] = ()


class Method(Protocol):
    """A tissue method."""

    def __call__(self, case: Case) -> Segmentation:
        """Label one subject."""


class HeadMethod(ABC):
    """A method that needs no brain mask and no atlas.

    Attributes:
        contrasts: suffixes of the images that it looks at; empty for one image of any contrast.
        masked: whether it asks for a brain mask.
    """

    contrasts: tuple[str, ...] = ()
    masked: bool = False

    @abstractmethod
    def __call__(
        self, channels: Sequence[sitk.Image], where: str, mask: sitk.Image | None = None
    ) -> Output:
        """Label one subject.

        Args:
            channels: images of its contrasts on one grid.
            where: name for messages.
            mask: of the brain, on that grid, outside of which nothing is labelled.
        """
