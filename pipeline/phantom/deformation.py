"""The known deformation: a stationary velocity field, integrated by scaling and squaring.

Arsigny et al. 2006, MICCAI; Ashburner 2007, NeuroImage 38:95-113.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.lattice import Floats, Lattice, Matrix, affine, generator, sample

#: Point of the template about which heads are scaled and turned, LPS mm.
CENTRE: Matrix = np.array([0.0, 16.0, 15.0])
#: Standard deviations of the smooth random velocity, mm, and their shares of its power.
SCALES = ((28.0, 0.65), (13.0, 0.35))
#: Root mean square over the brain, mm, drawn per subject; peaks stay below PEAK.
RMS = (3.0, 4.2)
PEAK = 9.0
#: Most that the ventricles' wall is moved outwards, mm; negative values make them smaller.
VENTRICLE = (-2.0, 5.0)
#: Size relative to the template, whose brain is larger than most, and its variation by axis.
SIZE = (0.90, 0.99)
STRETCH = (0.97, 1.03)
#: Largest turn about each axis, degrees, and shift along it, mm, of the head in the scanner.
TURN, SHIFT = 6.0, 6.0
#: Smallest Jacobian determinant accepted; the field is made weaker until it is reached.
MIN_JACOBIAN = 0.25


@dataclass(frozen=True)
class Shape:
    """How the template becomes the subject: x = C + M (p + u(p) - C) + t.

    Attributes:
        lattice: lattice of the fields.
        velocity: stationary velocity, (3, z, y, x), mm per unit time.
        forward: displacement u = exp(velocity), mm.
        inverse: displacement of exp(-velocity), refined against ``forward``.
        matrix, offset: the affine part M and t.
        ventricle: outward movement of the ventricles' wall that was drawn, mm.
    """

    lattice: Lattice
    velocity: Floats
    forward: Floats
    inverse: Floats
    matrix: Matrix
    offset: Matrix
    ventricle: float

    def to_subject(self, points: Floats) -> Floats:
        """Template points (3, ...) to the subject's space."""
        moved = points + _vectors(self.forward, self.lattice, points)
        return affine(moved, self.matrix, CENTRE + self.offset - self.matrix @ CENTRE)

    def to_template(self, points: Floats) -> Floats:
        """Subject points (3, ...) to the template's space."""
        inverse = np.linalg.inv(self.matrix)
        moved = affine(points, inverse, CENTRE - inverse @ (CENTRE + self.offset))
        return moved + _vectors(self.inverse, self.lattice, moved)

    def field(self) -> Floats:
        """Displacement from template points to subject points on ``lattice``, (3, z, y, x), mm."""
        points = self.lattice.points()
        return self.to_subject(points) - points


def draw(anatomy: Anatomy, seed: int, subject: str) -> Shape:
    """Draw the shape of one subject; the same for the same seed and subject."""
    rng = generator(seed, subject, "shape")
    lattice = anatomy.coarse
    velocity = _random_velocity(anatomy, rng)
    ventricle = float(rng.uniform(*VENTRICLE))
    velocity += _ventricle_velocity(anatomy, ventricle)
    matrix, offset = _affine(rng)
    while True:
        forward = exponential(velocity, lattice)
        inner = jacobian(forward, lattice)[3:-3, 3:-3, 3:-3]
        if inner.min() >= MIN_JACOBIAN:
            break
        velocity = np.float32(0.88) * velocity
    inverse = _invert(forward, exponential(-velocity, lattice), lattice)
    return Shape(lattice, velocity, forward, inverse, matrix, offset, ventricle)


def exponential(velocity: Floats, lattice: Lattice) -> Floats:
    """Displacement of the flow of a stationary velocity over unit time, (3, z, y, x), mm.

    The velocity is halved until no step is longer than a quarter of a voxel, then squared back.
    """
    longest = float(np.abs(velocity).max()) / min(lattice.spacing)
    steps = max(0, int(np.ceil(np.log2(max(longest * 4.0, 1.0)))))
    displacement = velocity / np.float32(2**steps)
    points = lattice.points()
    for _ in range(steps):
        displacement = displacement + _vectors(displacement, lattice, points + displacement)
    return displacement


def jacobian(displacement: Floats, lattice: Lattice) -> Floats:
    """Determinant of I + du/dx on a lattice without rotation, (z, y, x)."""
    sx, sy, sz = lattice.spacing
    gradient = np.empty((*lattice.shape, 3, 3), np.float32)
    for row in range(3):
        dz, dy, dx = np.gradient(displacement[row], sz, sy, sx)
        for column, part in enumerate((dx, dy, dz)):
            gradient[..., row, column] = part + (row == column)
    return np.asarray(np.linalg.det(gradient), dtype=np.float32)


def rotation(degrees: Matrix) -> Matrix:
    """Rotation about x, then y, then z (3x3)."""
    transform = sitk.Euler3DTransform()
    x, y, z = np.deg2rad(degrees).tolist()
    transform.SetRotation(x, y, z)
    return np.asarray(transform.GetMatrix()).reshape(3, 3)


def _vectors(field: Floats, lattice: Lattice, points: Floats) -> Floats:
    return np.stack([sample(part, lattice, points) for part in field])


def _random_velocity(anatomy: Anatomy, rng: np.random.Generator) -> Floats:
    lattice = anatomy.coarse
    velocity = np.zeros((3, *lattice.shape), np.float32)
    for sigma, share in SCALES:
        white = rng.standard_normal(velocity.shape, dtype=np.float32)
        for target, part in zip(velocity, white, strict=True):
            smooth = ndimage.gaussian_filter(part, sigma / lattice.spacing[0], mode="wrap")
            target += np.float32(np.sqrt(share) / smooth.std()) * smooth
    length = np.sqrt((velocity**2).sum(axis=0))[anatomy.brain]
    rms = float(np.sqrt((length**2).mean()))
    wanted = float(rng.uniform(*RMS))
    scale = min(wanted / rms, PEAK / float(length.max()))
    return np.asarray(velocity * np.float32(scale))


def _ventricle_velocity(anatomy: Anatomy, wall: float) -> Floats:
    """Velocity that points away from the ventricles' middle, ``wall`` mm at most."""
    dz, dy, dx = np.gradient(anatomy.ventricles)
    outward = -np.stack([dx, dy, dz]).astype(np.float32)
    longest = np.sqrt((outward**2).sum(axis=0)).max()
    return np.asarray(outward * np.float32(wall / longest))


def _affine(rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    scales = rng.uniform(*SIZE) * rng.uniform(*STRETCH, 3)
    turn = rotation(rng.uniform(-TURN, TURN, 3))
    return turn @ np.diag(scales), rng.uniform(-SHIFT, SHIFT, 3)


def _invert(forward: Floats, guess: Floats, lattice: Lattice) -> Floats:
    """Inverse displacement by fixed-point iterations from a close guess."""
    points = lattice.points()
    inverse = guess
    for _ in range(3):
        inverse = -_vectors(forward, lattice, points + inverse)
    return inverse
