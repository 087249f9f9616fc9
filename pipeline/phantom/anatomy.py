"""The anatomy all subjects come from: the MNI152 2009a maps that nilearn carries.

Fonov et al. 2011, NeuroImage 54:313-327. The maps lie in nilearn's package: nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from pipeline.phantom.lattice import AXIAL, Floats, Lattice, sample

#: Space around the template's field of view in which the head and the deformation live, mm.
MARGIN = 30.0
#: Spacing of deformations and distance maps, mm.
COARSE = 3.0
#: Exponent that undoes some of the blur that averaging 152 brains put between the tissues.
CRISP = 1.6


@dataclass(frozen=True)
class Anatomy:
    """Tissue fractions and distances in template space (LPS mm).

    Attributes:
        lattice: 1 mm lattice of the fractions, the template's own.
        csf, gm, wm: fractions (z, y, x) that add up to the brain's.
        coarse: lattice of the maps below, with a margin for the head.
        brain_distance: signed distance to the brain's surface, mm, negative inside.
        hull_distance: the same to the closed surface that the skull follows.
        ventricles: smooth map of the lateral and third ventricles, 0..1.
        brain: whether a point of ``coarse`` lies in the brain.
    """

    lattice: Lattice
    csf: Floats
    gm: Floats
    wm: Floats
    coarse: Lattice
    brain_distance: Floats
    hull_distance: Floats
    ventricles: Floats
    brain: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@cache
def load() -> Anatomy:
    """Read the maps and derive the distances; about three seconds, once a process."""
    lattice, mask, gm, wm = _maps()
    csf, gm, wm = _crisp(np.clip(mask - gm - wm, 0.0, 1.0), gm, wm)
    coarse = _coarse_lattice(lattice)
    points = coarse.points()

    def at(values: Floats) -> Floats:
        return sample(ndimage.gaussian_filter(values, 1.0), lattice, points, outside="constant")

    brain = at(mask) > 0.5
    distance = _signed_distance(brain)
    hull = _signed_distance(_close(brain, 24.0))
    deep = (
        (distance < -20.0) & (np.abs(points[0]) < 40.0) & (points[2] > -15.0) & (points[2] < 45.0)
    )
    ventricles = ndimage.gaussian_filter(at(csf) * deep, 4.0 / COARSE).astype(np.float32)
    return Anatomy(lattice, csf, gm, wm, coarse, distance, hull, ventricles, brain)


def _maps() -> tuple[Lattice, Floats, Floats, Floats]:
    from nilearn import datasets

    images = [
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_gm_template(resolution=1),
        datasets.load_mni152_wm_template(resolution=1),
    ]
    # nilearn's arrays are (x, y, z) in RAS+; flip x and y to have LPS with an identity direction
    t1, gm, wm = (
        np.ascontiguousarray(image.get_fdata(dtype=np.float32)[::-1, ::-1].T) for image in images
    )
    matrix = images[0].affine
    size = (t1.shape[2], t1.shape[1], t1.shape[0])
    last = matrix[:3, 3] + np.asarray(size) - 1.0
    origin = (-float(last[0]), -float(last[1]), float(matrix[2, 3]))
    return Lattice(size, (1.0, 1.0, 1.0), origin, AXIAL), np.float32(1.0) * (t1 > 0), gm, wm


def _crisp(csf: Floats, gm: Floats, wm: Floats) -> tuple[Floats, Floats, Floats]:
    """Sharpen the fractions, keeping their sum."""
    total = csf + gm + wm
    powers = [part**CRISP for part in (csf, gm, wm)]
    scale = total / np.maximum(sum(powers), 1e-6)
    a, b, c = ((part * scale).astype(np.float32) for part in powers)
    return a, b, c


def _coarse_lattice(lattice: Lattice) -> Lattice:
    extent = (np.asarray(lattice.size) - 1) * np.asarray(lattice.spacing) + 2 * MARGIN
    nx, ny, nz = (int(n) for n in np.ceil(extent / COARSE) + 1)
    x, y, z = (np.asarray(lattice.origin) - MARGIN).tolist()
    return Lattice((nx, ny, nz), (COARSE, COARSE, COARSE), (x, y, z), AXIAL)


def _signed_distance(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Floats:
    outside = ndimage.distance_transform_edt(~mask, sampling=COARSE)
    inside = ndimage.distance_transform_edt(mask, sampling=COARSE)
    # half a voxel is on either side of the surface; smooth away the staircase
    distance = np.where(mask, COARSE / 2 - inside, outside - COARSE / 2)
    smooth: Floats = ndimage.gaussian_filter(distance.astype(np.float32), 0.7)
    return smooth


def _close(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], radius: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Morphological closing with a ball of ``radius`` mm, by distances."""
    dilated = ndimage.distance_transform_edt(~mask, sampling=COARSE) <= radius
    return np.asarray(ndimage.distance_transform_edt(dilated, sampling=COARSE) > radius)
