"""The lattice of a training: the box around the template's brain at the network's voxel size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.register.engine import cropped
from pipeline.register.template import MNI, make


@dataclass(frozen=True)
class Lattice:
    """Template, its mask, and the grid that all training images are sampled on."""

    template: sitk.Image
    mask: sitk.Image
    grid: sitk.Image

    @property
    def mark(self) -> str:
        """What a cached image depends on beside its file."""
        grid = self.grid
        text = repr((grid.GetSize(), grid.GetSpacing(), grid.GetOrigin(), grid.GetDirection()))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def lattice(spacing: float, template: str = MNI) -> Lattice:
    """The lattice of a template.

    Args:
        spacing: voxel size of the network, mm.
        template: as in the configuration.

    Raises:
        VoxelwayError: E-TEMPLATE when there is no such template.
    """
    found = make({"template": template, "template_spacing": max(spacing, 2.0)})
    box = cropped(found.image, found.mask)
    extent = np.asarray(box.GetSize()) * np.asarray(box.GetSpacing())
    x, y, z = np.ceil(extent / spacing).astype(int)
    grid = images.grid((int(x), int(y), int(z)), (spacing, spacing, spacing), box)
    return Lattice(found.image, found.mask, grid)
