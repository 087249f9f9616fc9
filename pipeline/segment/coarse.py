"""Coarse level of the cascade: brain, its tissues and its box at low resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment import mixture
from pipeline.segment.case import BRIGHTNESS, TISSUES


@dataclass(frozen=True)
class Coarse:
    """Result of the coarse level.

    Attributes:
        brain: uint8 mask on the coarse grid, one component.
        labels: uint8 tissues on the fine grid.
        posteriors: tissue → probability on the fine grid.
    """

    brain: sitk.Image
    labels: sitk.Image
    posteriors: dict[str, sitk.Image]


def run(image: sitk.Image, mask: sitk.Image, suffix: str, spacing: float, where: str) -> Coarse:
    """Find the brain and its tissues at low resolution.

    Args:
        image: anchor contrast, whole field of view.
        mask: brain mask on the same grid.
        suffix: contrast of the image, tells which tissue is bright.
        spacing: mm of the coarse grid; never finer than the image.
        where: for messages.

    Raises:
        VoxelwayError: E-MASK-EMPTY without a brain, E-SIGNAL when it has too few intensities.
    """
    low = images.spaced_grid(image, _steps(image, spacing))
    brain = _brain(mask, low, where)
    small = images.resample(_smoothed(image, low), low, order=1)
    inside = images.bool_array(brain)
    posterior = _tissues(images.array(small), inside, small.GetSpacing(), suffix, where)
    return _on_fine_grid(posterior, inside, low, brain, mask)


def _steps(image: sitk.Image, spacing: float) -> tuple[float, float, float]:
    x, y, z = (max(spacing, own) for own in image.GetSpacing())
    return x, y, z


def _smoothed(image: sitk.Image, low: sitk.Image) -> sitk.Image:
    """Low-pass filter against aliasing: full width at half maximum of one coarse voxel."""
    old, new = np.asarray(image.GetSpacing()), np.asarray(low.GetSpacing())
    width = np.sqrt(np.maximum(new**2 - old**2, 1e-6)) / 2.355
    return sitk.SmoothingRecursiveGaussian(image, [float(value) for value in width])


def _brain(mask: sitk.Image, low: sitk.Image, where: str) -> sitk.Image:
    share = sitk.Cast(mask != 0, sitk.sitkFloat32)
    share = images.resample(_smoothed(share, low), low, order=1)
    components = sitk.RelabelComponent(sitk.ConnectedComponent(share >= 0.5))
    brain = components == 1
    if not images.bool_array(brain).any():
        hint = "Look at the brain mask of this subject on its QC page"
        what = f"No brain is left of the mask at {low.GetSpacing()[0]:g} mm"
        raise VoxelwayError("E-MASK-EMPTY", what, where=where, hint=hint)
    return brain


def _tissues(
    values: NDArray[np.float32],
    inside: NDArray[np.bool_],
    spacing: tuple[float, ...],
    suffix: str,
    where: str,
) -> NDArray[np.float32]:
    """Posteriors of the three tissues, (voxels, 3), from an EM fit that starts at k-means."""
    data = values[inside]
    start = _by_intensity(data, where)
    order = BRIGHTNESS.get(suffix, BRIGHTNESS["T1w"])
    start = start[:, [order.index(tissue) for tissue in TISSUES]]
    flat = np.full_like(start, 1.0 / len(TISSUES))
    settings = mixture.Settings(mrf=0.0, outlier=4.0, floor=0.0, bias_order=2)
    return mixture.fit(data[:, None], flat, inside, spacing, settings, start).posterior


def _by_intensity(data: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    """Membership (voxels, 3) of the dark, middle and bright cluster, by k-means in 1D."""
    low, middle, high = np.percentile(data, [5, 50, 95])
    if not low < high:
        what = f"The intensities in the coarse brain run from {low:g} to {high:g}"
        raise VoxelwayError("E-SIGNAL", what, where=where)
    centres = np.array([low, middle, high], np.float64)
    nearest = np.zeros(len(data), np.int64)
    for _ in range(50):
        nearest = np.abs(data[:, None] - centres[None]).argmin(axis=1)
        moved = np.array(
            [data[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(3)]
        )
        if np.allclose(moved, centres, atol=1e-6 * (high - low)):
            break
        centres = moved
    return np.eye(3, dtype=np.float32)[nearest]


def _on_fine_grid(
    posterior: NDArray[np.float32],
    inside: NDArray[np.bool_],
    low: sitk.Image,
    brain: sitk.Image,
    mask: sitk.Image,
) -> Coarse:
    fine = images.bool_array(mask)
    # outside the coarse brain the nearest brain voxel speaks, so that its rim has no dark edge
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    shares = []
    for tissue in range(len(TISSUES)):
        volume = np.zeros(inside.shape, np.float32)
        volume[inside] = posterior[:, tissue]
        filled = images.like(volume[tuple(nearest)], low)
        share = images.resample(_padded(filled), mask, order=1)
        shares.append(images.array(share) * fine)
    stack = np.stack(shares)
    total = stack.sum(axis=0)
    stack /= np.where(total > 0, total, 1.0)
    labels = np.where(fine & (total > 0), stack.argmax(axis=0) + 1, 0).astype(np.uint8)
    posteriors = {
        name: images.like(share, mask) for name, share in zip(TISSUES, stack, strict=True)
    }
    return Coarse(brain, images.like(labels, mask), posteriors)


def _padded(image: sitk.Image) -> sitk.Image:
    """One more voxel on each side, as its neighbour: the fine grid's rim lies between."""
    return sitk.ZeroFluxNeumannPad(image, [1, 1, 1], [1, 1, 1])
