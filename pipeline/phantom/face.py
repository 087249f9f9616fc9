"""Face and neck, in simple shapes: soft tissue, orbits, airways, spine.

They give the head a plausible outline and the brain extraction something to remove. Points are in
template space, LPS mm; nothing here is true anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.lattice import Floats

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; an infinite half-axis makes it a cylinder."""

    centre: Vector
    radii: Vector

    def distance(self, points: Floats) -> Floats:
        """Signed distance to the surface, mm, exact on the surface and near it."""
        scaled = np.zeros(points.shape[1:], np.float32)
        steep = np.zeros(points.shape[1:], np.float32)
        for axis in range(3):
            part = (points[axis] - np.float32(self.centre[axis])) / np.float32(self.radii[axis])
            scaled += part**2
            steep += (part / np.float32(self.radii[axis])) ** 2
        length = np.sqrt(scaled)
        # the gradient of the length turns it into millimetres
        return (length - 1) * length / np.maximum(np.sqrt(steep), np.float32(1e-4))


FACE = Ellipsoid((0.0, -50.0, -46.0), (60.0, 47.0, 66.0))
NECK = Ellipsoid((0.0, 38.0, -110.0), (57.0, 62.0, 75.0))
JAW = Ellipsoid((0.0, -20.0, -95.0), (54.0, 58.0, 40.0))
EYES = tuple(Ellipsoid((side * 33.0, -71.0, -34.0), (12.0, 12.0, 12.0)) for side in (-1, 1))
AIRWAYS = (
    Ellipsoid((0.0, -58.0, -50.0), (9.0, 26.0, 17.0)),
    Ellipsoid((0.0, -16.0, -78.0), (9.0, 7.0, 45.0)),
    *(Ellipsoid((side * 28.0, -60.0, -60.0), (12.0, 14.0, 13.0)) for side in (-1, 1)),
)
SPINE = Ellipsoid((0.0, 43.0, -110.0), (20.0, 20.0, 38.0))
CANAL = Ellipsoid((0.0, 45.0, -110.0), (10.0, 10.0, 46.0))
CORD = Ellipsoid((0.0, 45.0, -110.0), (6.5, 6.0, 41.0))
#: Thickness of skin and fat, of the bone around airways, and of the vertebrae's cortex, mm.
SKIN, WALL, CORTEX = 4.0, 1.5, 2.5


def below(distance: Floats, limit: Floats | float, edge: float = 1.2) -> Floats:
    """1 where the distance is below the limit, 0 above, a ramp of ``edge`` mm between."""
    ramp = (limit - distance) / np.float32(edge) + np.float32(0.5)
    return np.asarray(np.clip(ramp, 0.0, 1.0), dtype=np.float32)


def outline(points: Floats) -> Floats:
    """Signed distance to the outside of face and neck, mm, rounded where they meet."""
    parts = np.stack([shape.distance(points) for shape in (FACE, NECK, JAW)])
    return np.asarray(-8.0 * np.log(np.exp(-parts / 8.0).clip(1e-30, 1e30).sum(axis=0)))


def fractions(points: Floats, surface: Floats, mixture: Floats) -> dict[str, Floats]:
    """Fractions of the tissues of face and neck, as if neither skull nor brain were there.

    Args:
        points: template points, (3, n).
        surface: ``outline(points)``.
        mixture: 0..1, share of fat between the muscles.
    """
    whole = below(surface, 0.0)
    inner = below(surface, -SKIN, 2.5)
    fat = np.clip(mixture * 1.6 - 0.8, 0.0, 1.0)
    parts = {"fat": whole - inner * (1 - fat), "muscle": inner * (1 - fat)}
    zero = np.zeros_like(whole)
    parts |= dict.fromkeys(("bone", "marrow", "csf", "wm"), zero)
    for eye in EYES:
        parts = _carve(parts, below(eye.distance(points), 0.0), "csf")
    airway = np.min([shape.distance(points) for shape in AIRWAYS], axis=0)
    parts = _carve(parts, below(airway, WALL), "bone")
    parts = _carve(parts, below(airway, 0.0), None)
    parts = _carve(parts, below(SPINE.distance(points), 0.0), "bone")
    parts = _carve(parts, below(SPINE.distance(points), -CORTEX), "marrow")
    parts = _carve(parts, below(CANAL.distance(points), 0.0), "csf")
    return _carve(parts, below(CORD.distance(points), 0.0), "wm")


def _carve(parts: dict[str, Floats], share: Floats, tissue: str | None) -> dict[str, Floats]:
    """Replace a share of everything by one tissue, or by air; nothing outside the face."""
    total = sum(parts.values(), np.zeros_like(share))
    result: dict[str, Floats] = {name: part * (1 - share) for name, part in parts.items()}
    if tissue is not None:
        result[tissue] = result[tissue] + total * share
    return result
