"""Made-up brains on oblique anisotropic grids, with known maps between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.register import fields, transforms
from pipeline.register.fields import Registration


def oblique(size: tuple[int, int, int], spacing: tuple[float, float, float]) -> sitk.Image:
    """Empty grid around the origin, turned about all three axes."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.15, -0.1, 0.2)
    grid = sitk.Image(list(size), sitk.sitkFloat32)
    grid.SetSpacing(spacing)
    grid.SetDirection(turn.GetMatrix())
    middle = [(n - 1) / 2 for n in size]
    grid.SetOrigin((-np.asarray(grid.TransformContinuousIndexToPhysicalPoint(middle))).tolist())
    return grid


def points(grid: sitk.Image) -> NDArray[np.float64]:
    """Physical points of the voxels, (z, y, x, 3)."""
    zyx = np.stack(np.meshgrid(*map(np.arange, grid.GetSize()[::-1]), indexing="ij"), -1)
    direction = np.asarray(grid.GetDirection()).reshape(3, 3)
    return np.asarray(grid.GetOrigin()) + zyx[..., ::-1] * grid.GetSpacing() @ direction.T


def linear_field(grid: sitk.Image, matrix: NDArray[np.float64]) -> sitk.Image:
    """Displacement u(p) = M p."""
    return fields.field_like(points(grid) @ matrix.T, grid)


def random_velocity(grid: sitk.Image, largest: float, sigma: float, seed: int) -> sitk.Image:
    """Smooth random vectors in mm that fade towards the border of the grid."""
    rng = np.random.default_rng(seed)
    shape = grid.GetSize()[::-1]
    parts = []
    for _ in range(3):
        noise = images.like(rng.standard_normal(shape).astype("f4"), grid)
        parts.append(images.array(sitk.SmoothingRecursiveGaussian(noise, sigma)))
    fade = np.ones(shape)
    for axis, n in enumerate(shape):
        shaped = [1, 1, 1]
        shaped[axis] = n
        fade = fade * np.sin(np.pi * (np.arange(n) + 0.5) / n).reshape(shaped)
    vectors = np.stack(parts, -1) * fade[..., None]
    return fields.field_like(vectors * largest / np.linalg.norm(vectors, axis=-1).max(), grid)


def exponential(velocity: sitk.Image, sign: float = 1.0, steps: int = 5) -> sitk.Image:
    """Displacement after unit time along a stationary velocity field, by squaring."""
    field = fields.field_like(fields.vectors(velocity) * sign / 2**steps, velocity)
    for _ in range(steps):
        field = fields.compose(field, field)
    return field


def brain(grid: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Ellipsoid of 130 x 165 x 120 mm with ventricles and a texture of two scales; its mask."""
    p = points(grid)
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    inside = (x / 65) ** 2 + (y / 82) ** 2 + (z / 60) ** 2 < 1
    rng = np.random.default_rng(0)
    image = np.full(inside.shape, 0.6)
    for sigma, strength in ((6.0, 0.1), (12.0, 0.15)):
        noise = images.like(rng.standard_normal(inside.shape).astype("f4"), grid)
        texture = images.array(sitk.SmoothingRecursiveGaussian(noise, sigma))
        image = image + strength * texture / texture.std()
    ventricle = np.exp(-(((np.abs(x) - 12) / 7) ** 2) - ((y - 5) / 25) ** 2 - (z / 9) ** 2)
    image = np.clip(image * (1 - 0.75 * ventricle), 0.02, None)
    return images.like(np.where(inside, image, 0).astype("f4"), grid), images.like(inside, grid)


def pair(
    seed: int = 1,
) -> tuple[tuple[sitk.Image, sitk.Image], tuple[sitk.Image, sitk.Image], Registration]:
    """Moving and fixed image with masks, and the true map: about 5 mm of deformation."""
    fixed_grid = oblique((44, 52, 30), (4.0, 4.0, 5.0))
    fixed, fixed_mask = brain(fixed_grid)
    velocity = random_velocity(fixed_grid, 9.0, 16.0, seed)
    affine = sitk.AffineTransform(3)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.08, 0.05, -0.1)
    matrix = np.asarray(turn.GetMatrix()).reshape(3, 3) @ np.diag([1.05, 0.95, 1.02])
    affine.SetMatrix(matrix.ravel().tolist())
    affine.SetTranslation((6.0, -4.0, 5.0))
    truth = Registration(affine, exponential(velocity), exponential(velocity, -1.0))
    moving_grid = sitk.Image(50, 56, 46, sitk.sitkFloat32)
    moving_grid.SetSpacing((4.0, 3.8, 4.0))
    moving_grid.SetOrigin((-92.0, -110.0, -85.0))
    back = fields.backward_transform(truth)
    moving = images.resample(fixed, moving_grid, back, order=1)
    mask = images.resample(fixed_mask, moving_grid, back, labels=True)
    return (moving, mask), (fixed, fixed_mask), truth


def error(found: Registration, truth: Registration, mask: sitk.Image) -> float:
    """Mean target registration error over the fixed mask, mm."""
    maps = [
        fields.vectors(fields.to_field(fields.forward_transform(item), mask))
        for item in (found, truth)
    ]
    distance = np.linalg.norm(maps[0] - maps[1], axis=-1)
    return float(distance[images.bool_array(mask)].mean())


def check_applied_alike(
    found: Registration,
    moving: tuple[sitk.Image, sitk.Image],
    fixed: tuple[sitk.Image, sitk.Image],
    folder: Path,
    *,
    inverse: bool,
) -> None:
    """ANTs, given our files, moves an image as SimpleITK does."""
    import ants

    paths = transforms.fixed_paths(folder)
    transforms.write_affine(found.affine, paths.affine)
    transforms.write_field(found.warp, paths.warp)
    transforms.write_field(found.inverse_warp, paths.inverse_warp)
    loaded = transforms.load(paths)
    if inverse:
        source, target, mask = fixed[0], moving[0], moving[1]
        ours = images.resample(source, target, fields.backward_transform(loaded), order=1)
        listed, inverted = [str(paths.affine), str(paths.inverse_warp)], [True, False]
    else:
        source, target, mask = moving[0], fixed[0], fixed[1]
        ours = images.resample(source, target, fields.forward_transform(loaded), order=1)
        listed, inverted = [str(paths.warp), str(paths.affine)], [False, False]
    theirs = ants.apply_transforms(
        ants.from_sitk(target), ants.from_sitk(source), listed, "linear", whichtoinvert=inverted
    )
    difference = np.abs(images.array(ours) - images.array(ants.to_sitk(theirs)))
    assert difference[images.bool_array(mask)].max() < 1e-3
    # and the direction matters: without the transforms the images differ
    apart = np.abs(images.array(images.resample(source, target, order=1)) - images.array(ours))
    assert apart[images.bool_array(mask)].mean() > 0.03
