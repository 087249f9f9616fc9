"""What lies around the brain: CSF, skull with marrow, scalp, and the tissue below.

The layers follow a closed surface around the brain; their thickness varies smoothly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.lattice import Floats, Lattice, generator, sample, smooth_noise

#: Mean thickness in mm and its standard deviation over the head.
CSF = (3.0, 0.5)
SKULL = (6.0, 0.9)
SCALP = (6.0, 1.2)
#: Width over which one layer passes into the next, mm.
EDGE = 1.2


@dataclass(frozen=True)
class Head:
    """Thickness of the layers over the template's space, maps (z, y, x) in mm."""

    lattice: Lattice
    brain_distance: Floats
    hull_distance: Floats
    csf: Floats
    skull: Floats
    scalp: Floats
    mixture: Floats

    def fractions(self, points: Floats, brain: Floats) -> dict[str, Floats]:
        """Fractions of csf, bone, marrow, fat and muscle at template points.

        Args:
            points: template points, (3, ...).
            brain: the brain's fraction there; the layers take what it leaves.
        """

        def at(values: Floats) -> Floats:
            return sample(values, self.lattice, points)

        hull, near = at(self.hull_distance), at(self.brain_distance)
        inner = at(self.csf)
        outer = inner + at(self.skull)
        skin = outer + at(self.scalp)
        free = 1.0 - brain
        # between the brain's folds there is fluid; in the hollow at its base there is not
        fluid = free * _below(near, inner) * _below(hull, inner)
        base = free * _below(hull, inner) - fluid
        skull = free * (_below(hull, outer) - _below(hull, inner))
        middle, half = (inner + outer) / 2, (outer - inner) / 6
        marrow = free * (_below(hull, middle + half) - _below(hull, middle - half))
        scalp = free * (_below(hull, skin) - _below(hull, outer))
        mixture = np.clip(0.5 + 0.35 * at(self.mixture), 0.0, 1.0)
        return {
            "csf": fluid,
            "bone": skull - marrow + base * 0.3,
            "marrow": marrow + base * 0.4 * (1 - mixture),
            "fat": scalp * (0.45 + 0.4 * mixture),
            "muscle": scalp * (0.55 - 0.4 * mixture) + base * (0.3 + 0.4 * mixture),
        }


def _below(distance: Floats, limit: Floats) -> Floats:
    """1 where the distance is below the limit, 0 above, a ramp of EDGE mm between."""
    return np.clip((limit - distance) / np.float32(EDGE) + np.float32(0.5), 0.0, 1.0)


def draw(anatomy: Anatomy, seed: int, subject: str) -> Head:
    """Draw the thickness of one subject's layers."""
    rng = generator(seed, subject, "head")
    noise = smooth_noise(anatomy.coarse, 24.0, rng, 3)
    layers = []
    for (mean, spread), field in zip((CSF, SKULL, SCALP), noise, strict=True):
        own = mean * rng.uniform(0.9, 1.1)
        layers.append(np.clip(own + spread * field, 0.55 * mean, 1.6 * mean).astype(np.float32))
    mixture = smooth_noise(anatomy.coarse, 7.0, rng)[0]
    distances = anatomy.brain_distance, anatomy.hull_distance
    return Head(anatomy.coarse, *distances, *layers, mixture)
