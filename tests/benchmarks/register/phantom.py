"""Pairs of the embedded cohort's subjects, with the true map from one to the other.

Every subject is a known deformation of one template, so the map between two is that of the fixed
subject back to the template and on to the moving one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline.phantom import acquisition, anatomy, protocol, subject
from pipeline.phantom.deformation import Shape
from pipeline.phantom.lattice import Floats, Lattice, generator
from pipeline.register.engine import cropped
from tests.benchmarks.register.pairs import Made, Side, choose

#: CSF, grey and white matter; lesions are one subject's own.
TISSUES = (1, 2, 3)


def pairs(count: int, spacing: float, contrast: str, seed: int) -> list[Callable[[], Made]]:
    """Makers of pairs P001 → P002, P003 → P004 and so on.

    Args:
        count: how many.
        spacing: voxel size, mm.
        contrast: of the moving image; the fixed one is T1w.
        seed: of the cohort.
    """
    chosen = choose(2 * count, count)
    return [partial(_make, moving, fixed, spacing, contrast, seed) for moving, fixed in chosen]


def _make(moving: int, fixed: int, spacing: float, contrast: str, seed: int) -> Made:
    names = [f"P{index + 1:03d}" for index in (moving, fixed)]
    made = [subject.make(protocol.plan(n, seed), anatomy.load(), spacing) for n in names]
    sides = [side(one, suffix) for one, suffix in zip(made, (contrast, "T1w"), strict=True)]
    truth = between(made[1].shape, made[0].shape, lattice_of(sides[1].image))
    return f"{names[0]}-{names[1]}", sides[0], sides[1], truth


def side(one: subject.Subject, suffix: str) -> Side:
    """A contrast on the T1w's grid with the T1w's bias field and noise, stripped and cropped."""
    lattice, t1w = one.truth.lattice, one.series["T1w"]
    rng = generator(one.plan.seed, one.plan.folder, "bench-register", suffix)
    noisy = acquisition.rician(one.truth.contrasts[suffix] * t1w.bias, t1w.sigma, rng)
    brain = one.truth.brain > 0
    labels = np.where(np.isin(one.truth.labels, TISSUES) & brain, one.truth.labels, 0)
    mask = lattice.image(brain.astype(np.uint8))
    image = lattice.image(np.where(brain, noisy, 0.0).astype(np.float32))
    cut = [cropped(part, mask) for part in (image, lattice.image(labels.astype(np.uint8)))]
    return Side(cut[0], cut[1])


def lattice_of(image: sitk.Image) -> Lattice:
    """Where the voxels of an image lie."""
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    return Lattice(image.GetSize(), image.GetSpacing(), image.GetOrigin(), direction)


def between(fixed: Shape, moving: Shape, lattice: Lattice) -> sitk.Image:
    """True displacement from points of the fixed subject to points of the moving one, LPS mm."""
    points = lattice.points()
    field: Floats = moving.to_subject(fixed.to_template(points)) - points
    return lattice.image(field.astype(np.float32))
