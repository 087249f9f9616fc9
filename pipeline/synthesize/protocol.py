"""What a synthesis method is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import SimpleITK as sitk  # noqa: N813


@dataclass(frozen=True)
class Made:
    """A made contrast.

    Attributes:
        image: float32 on the grid of the sources, zero outside the brain and its margin.
        spread: standard deviation that is expected of the error, same unit as ``image``.
        sources: contrasts that were used.
    """

    image: sitk.Image
    spread: sitk.Image
    sources: tuple[str, ...]


class Method(Protocol):
    """Makes one contrast from others."""

    def __call__(self, sources: Mapping[str, sitk.Image], mask: sitk.Image, target: str) -> Made:
        """Make ``target``.

        Args:
            sources: contrast → float32 image, one grid; the target is not among them.
            mask: brain on the same grid.
            target: suffix of the contrast to make.

        Raises:
            VoxelwayError: E-TRAIN-DATA when the training data did not suffice for the target,
                E-MODEL-INPUT when no model takes a subset of these sources, E-SIGNAL.
        """
