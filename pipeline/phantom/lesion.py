"""A white-matter lesion with a core, of irregular shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.deformation import Shape, rotation
from pipeline.phantom.lattice import Floats, Lattice, Matrix, generator, sample, smooth_noise

#: Radius of the lesion, mm, and the core's share of it.
RADIUS = (12.0, 16.0)
CORE = (0.45, 0.58)
#: Width of the border between lesion and healthy tissue, mm.
EDGE = 1.5
_BOX = 84.0


@dataclass(frozen=True)
class Lesion:
    """A lesion in the subject's space; radii and the roughness of its border in mm."""

    centre: Matrix
    axes: Matrix
    radius: float
    core: float
    lattice: Lattice
    roughness: Floats

    def fractions(self, points: Floats) -> tuple[Floats, Floats]:
        """Shares 0..1 of whole lesion and of its core at subject points (3, ...)."""
        offset = points - self.centre.astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
        shaped = np.tensordot(self.axes.astype(np.float32), offset, axes=1)
        distance = np.sqrt((shaped**2).sum(axis=0))
        near = distance < _BOX / 2 - 4
        rough = sample(self.roughness, self.lattice, points[:, near])
        # rough at the border, calm in the middle, so that the core never vanishes
        distance[near] += rough * np.minimum(distance[near] / np.float32(self.radius), 1.0)
        whole = np.clip((self.radius - distance) / np.float32(EDGE) + 0.5, 0.0, 1.0)
        core = np.clip((self.core - distance) / np.float32(EDGE) + 0.5, 0.0, 1.0)
        return whole, np.minimum(whole, core)


def draw(anatomy: Anatomy, shape: Shape, seed: int, subject: str) -> Lesion:
    """Draw place, size and border of one subject's lesion."""
    rng = generator(seed, subject, "lesion")
    radius = float(rng.uniform(*RADIUS))
    core = radius * float(rng.uniform(*CORE))
    place = _place(anatomy, rng).astype(np.float32)
    centre = shape.to_subject(place.reshape(3, 1))[:, 0].astype(np.float64)
    stretch = np.diag(1.0 / rng.uniform(0.8, 1.25, 3))
    axes = stretch @ rotation(rng.uniform(-90.0, 90.0, 3))
    steps = int(_BOX / 3.0)
    lattice = Lattice.centred((steps, steps, steps), (3.0, 3.0, 3.0), centre)
    roughness = 0.2 * radius * smooth_noise(lattice, 6.0, rng)[0]
    return Lesion(centre, axes, radius, core, lattice, roughness.astype(np.float32))


def _place(anatomy: Anatomy, rng: np.random.Generator) -> Matrix:
    """A template point deep in the white matter of a hemisphere, LPS mm."""
    lattice = anatomy.lattice
    white = ndimage.uniform_filter(anatomy.wm, 11)
    z, y, x = np.nonzero(white > 0.8)
    points = np.stack([x, y, z]) + np.asarray(lattice.origin)[:, None]
    lateral = (np.abs(points[0]) > 20) & (np.abs(points[0]) < 45) & (points[2] > 0)
    chosen = np.flatnonzero(lateral)
    return np.asarray(points[:, rng.choice(chosen)], dtype=np.float64)
