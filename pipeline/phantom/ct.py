"""A head CT of a subject of the phantom, without noise: what networks for low-dose CT learn from.

The tissues are those of the MR series; a subject's CT lies on axial slices of its own.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pipeline.phantom import acquisition, deformation, protocol, subject
from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.deformation import CENTRE
from pipeline.phantom.lattice import Floats, Lattice, generator
from pipeline.phantom.protocol import FIELD, FRONT

#: CT numbers of the tissues, HU; chosen for this phantom, of the order of textbooks' tables.
NUMBERS = {
    "csf": 6.0,
    "gm": 38.0,
    "wm": 29.0,
    "lesion": 22.0,
    "core": 12.0,
    "bone": 1300.0,
    "marrow": 350.0,
    "fat": -95.0,
    "muscle": 55.0,
}
AIR = -1000.0
#: How much a tissue's number differs between subjects, and within one over TEXTURE_MM, HU.
BETWEEN, WITHIN = 1.5, 2.0
#: Full width at half maximum of the blur of a soft kernel, mm.
BLUR = 1.2


def image(folder: str, seed: int, anatomy: Anatomy, spacing: float) -> sitk.Image:
    """CT of one subject, Hounsfield units, float32.

    Args:
        folder: number of the subject, as P001; even ones have a lesion.
        seed: of the cohort.
        anatomy: that all subjects are made of.
        spacing: edge of the voxels, mm.
    """
    plan = protocol.plan(folder, seed)
    shape = deformation.draw(anatomy, seed, folder)
    x, y, z = (int(np.ceil(extent / spacing)) for extent in FIELD)
    lattice = Lattice.centred((x, y, z), (spacing,) * 3, CENTRE + shape.offset + FRONT, np.eye(3))
    fine = acquisition.fine_lattice(lattice, volumetric=True)
    fractions = subject.tissue_fractions(plan, anatomy, shape, fine)
    rng = generator(seed, folder, "tissues", "CT")
    values = np.full(fine.shape, AIR, dtype=np.float32)
    for name, number in NUMBERS.items():
        values += np.float32(number + rng.normal(0.0, BETWEEN) - AIR) * fractions[name]
    values += np.float32(WITHIN) * subject.texture(plan, "CT", fine) * fractions["brain"]
    return _sampled(values, fine, lattice)


def _sampled(values: Floats, fine: Lattice, lattice: Lattice) -> sitk.Image:
    """Blurred as a soft kernel does, at the voxels."""
    deviation = BLUR / np.sqrt(8.0 * np.log(2.0)) / np.asarray(fine.spacing)[::-1]
    blurred = ndimage.gaussian_filter(values, deviation, mode="nearest")
    return sitk.Resample(fine.image(blurred), lattice.empty(), sitk.Transform(), sitk.sitkLinear,
                         AIR)  # fmt: skip
