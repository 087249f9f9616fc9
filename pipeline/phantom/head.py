"""What lies around the brain: CSF, skull with marrow, scalp, face and neck.

The layers follow a closed surface around the brain; their thickness varies smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom import face
from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.face import below
from pipeline.phantom.lattice import Floats, Lattice, generator, sample, smooth_noise

#: Mean thickness in mm and its standard deviation over the head.
CSF = (3.0, 0.5)
SKULL = (6.0, 0.9)
SCALP = (6.0, 1.2)
#: Distance from the brain beyond which there is no head, mm.
REACH = 28.0


@dataclass(frozen=True)
class Head:
    """Thickness of the layers over the template's space, maps (z, y, x) in mm.

    ``mixture`` is a smooth random field of unit deviation that mixes fat and muscle.
    """

    lattice: Lattice
    brain_distance: Floats
    hull_distance: Floats
    csf: Floats
    skull: Floats
    scalp: Floats
    mixture: Floats

    def inside(self, points: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Whether template points (3, ...) can lie in the head; the others are air."""
        near = sample(self.hull_distance, self.lattice, points) < REACH
        return np.asarray(near | (face.outline(points) < 2.0))

    def fractions(self, points: Floats, brain: Floats) -> dict[str, Floats]:
        """Fractions of csf, bone, marrow, fat, muscle and wm (the cord) at template points.

        Args:
            points: template points, (3, n).
            brain: the brain's fraction there, (n); the layers take what it leaves.
        """

        def at(values: Floats) -> Floats:
            return sample(values, self.lattice, points)

        hull, near = at(self.hull_distance), at(self.brain_distance)
        inner = at(self.csf)
        outer = inner + at(self.skull)
        skin = outer + at(self.scalp)
        mixture = np.clip(0.5 + 0.35 * at(self.mixture), 0.0, 1.0)
        surface = face.outline(points)
        soft = face.fractions(points, surface, mixture)

        def layer(distance: Floats, low: Floats, high: Floats) -> Floats:
            return below(distance, high) - below(distance, low)

        # between the brain's folds there is fluid; in the hollow at its base there is not
        cavity = below(hull, inner)
        fluid = cavity * below(near, inner)
        base = cavity - fluid
        skull, third = layer(hull, inner, outer), (outer - inner) / 3
        marrow = layer(hull, inner + third, outer - third)
        # where face and neck are thick they take the scalp's place, without a seam
        scalp = layer(hull, outer, skin) * (1 - below(surface, -face.SKIN, 6.0))
        rest = 1 - below(hull, outer) - scalp
        parts = {
            "csf": fluid,
            "bone": skull - marrow + 0.3 * base,
            "marrow": marrow + 0.3 * base,
            "fat": scalp * (0.35 + 0.4 * mixture),
            "muscle": scalp * (0.65 - 0.4 * mixture) + 0.4 * base,
        }
        parts = _open_canal(parts, points)
        free = 1 - brain
        zero = np.zeros_like(free)
        return {name: free * (parts.get(name, zero) + rest * soft[name]) for name in soft}


def _open_canal(parts: dict[str, Floats], points: Floats) -> dict[str, Floats]:
    """Let the spinal canal pass the base of the skull."""
    canal = below(face.CANAL.distance(points), 0.0)
    cord = below(face.CORD.distance(points), 0.0)
    total = sum(parts.values(), np.zeros_like(canal))
    parts = {name: part * (1 - canal) for name, part in parts.items()}
    parts["csf"] = parts["csf"] + total * (canal - cord)
    parts["wm"] = total * cord
    return parts


def draw(anatomy: Anatomy, seed: int, subject: str) -> Head:
    """Draw the thickness of one subject's layers."""
    rng = generator(seed, subject, "head")
    noise = smooth_noise(anatomy.coarse, 24.0, rng, 3)
    layers = []
    for (mean, spread), field in zip((CSF, SKULL, SCALP), noise, strict=True):
        own = mean * rng.uniform(0.9, 1.1)
        layers.append(np.clip(own + spread * field, 0.55 * mean, 1.6 * mean).astype(np.float32))
    mixture = smooth_noise(anatomy.coarse, 7.0, rng)[0]
    csf, skull, scalp = layers
    distances = anatomy.brain_distance, anatomy.hull_distance
    return Head(anatomy.coarse, *distances, csf, skull, scalp, mixture)
