"""Rigid alignment of a subject's contrasts by mutual information (Mattes et al. 2003, IEEE TMI 22).

The scanner's geometry is the start, because contrasts of one session are nearly aligned by it.
Only when the outcome looks poor are other starts tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.errors import VoxelwayError

#: Rotation of the other starts about each axis, in degrees.
SEARCH_DEGREES = 12.0
#: Working voxel size in mm and smoothing of each level.
LEVELS = ((4.0, 4.0), (2.0, 2.0), (1.0, 0.0))


@dataclass(frozen=True)
class Alignment:
    """A rigid transform from points of the anchor to points of the other image, and its quality.

    Attributes:
        transform: ITK's convention, so ``sitk.Resample(other, anchor, transform)`` aligns.
        similarity: normalised mutual information in the brain, 0 (none) to 1.
        initial: the same with the scanner's geometry alone.
        overlap: share of the anchor's brain that lies inside the other image.
        searched: whether other starts were tried.
    """

    transform: sitk.Euler3DTransform
    similarity: float
    initial: float
    overlap: float
    searched: bool

    @property
    def shift(self) -> float:
        """Movement of the centre of rotation (the brain's), in mm."""
        return float(np.linalg.norm(self.transform.GetTranslation()))

    @property
    def degrees(self) -> float:
        """Angle of the rotation."""
        matrix = np.asarray(self.transform.GetMatrix()).reshape(3, 3)
        return float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1.0) / 2.0, -1.0, 1.0))))

    def facts(self) -> dict[str, Any]:
        """Entries of the sidecar."""
        return {
            "Similarity": round(self.similarity, 4),
            "SimilarityOfHeaders": round(self.initial, 4),
            "Overlap": round(self.overlap, 4),
            "ShiftMM": round(self.shift, 3),
            "RotationDegrees": round(self.degrees, 3),
            "OtherStartsTried": self.searched,
        }


def align(
    anchor: sitk.Image,
    brain: sitk.Image,
    other: sitk.Image,
    params: Mapping[str, Any],
    *,
    seed: int = 0,
    where: str = "",
    start: sitk.Euler3DTransform | None = None,
) -> Alignment:
    """Find the rigid transform from the anchor's points to the other image's.

    Args:
        anchor: float32.
        brain: brain mask of the anchor, same lattice.
        other: another contrast of the same head.
        params: the section ``alignment`` of the configuration.
        seed: of the metric's samples.
        where: for messages.
        start: an alignment that is close already; the scanner's geometry without.

    Raises:
        VoxelwayError: E-OVERLAP when too little of the brain lies inside the other image.
    """
    headers = _identity(brain)
    start = start or headers
    _check_overlap(overlap(brain, other, start), params, where, "at the start")
    rim = dilate(brain, float(params["margin"]))
    initial = similarity(anchor, brain, other, headers)
    # the start stays the best when the optimiser finds nothing better
    best, quality = start, similarity(anchor, brain, other, start)
    searched = False
    for attempt in [start, *_starts(start)]:
        found = _optimise(anchor, rim, other, attempt, params, seed)
        value = similarity(anchor, brain, other, found)
        if value > quality:
            best, quality = found, value
        if not searched and quality >= float(params["min_similarity"]):
            break
        searched = True
    share = overlap(brain, other, best)
    _check_overlap(share, params, where, "after alignment")
    return Alignment(best, quality, initial, share, searched)


def _check_overlap(share: float, params: Mapping[str, Any], where: str, when: str) -> None:
    if share >= float(params["min_overlap"]):
        return
    what = f"{when.capitalize()}, {100 * share:.0f} % of the brain lie inside the other image"
    hint = "The series may be of another region or session; leave it out, or lower min_overlap"
    raise VoxelwayError("E-OVERLAP", what, where=where, hint=hint)


def _identity(brain: sitk.Image) -> sitk.Euler3DTransform:
    """No movement, with the centre of rotation in the middle of the brain."""
    points = _points(brain)
    transform = sitk.Euler3DTransform()
    transform.SetCenter(points.mean(axis=0).tolist())
    return transform


def _starts(start: sitk.Euler3DTransform) -> list[sitk.Euler3DTransform]:
    """Small rotations about each axis, both ways."""
    angle = np.radians(SEARCH_DEGREES)
    found = []
    for axis, sign in itertools.product(range(3), (-1.0, 1.0)):
        angles = [0.0, 0.0, 0.0]
        angles[axis] = sign * float(angle)
        turned = sitk.Euler3DTransform(start)
        turned.SetRotation(*angles)
        found.append(turned)
    return found


def _optimise(
    anchor: sitk.Image,
    rim: sitk.Image,
    other: sitk.Image,
    start: sitk.Euler3DTransform,
    params: Mapping[str, Any],
    seed: int,
) -> sitk.Euler3DTransform:
    """Maximise the mutual information from one start.

    The image with the thicker slices gives the points at which the metric is sampled, and the
    other is blurred by as much across the slices: each sample then compares like with like.
    """
    swapped = max(other.GetSpacing()) > max(anchor.GetSpacing())
    fixed, moving = (other, anchor) if swapped else (anchor, other)
    moving = _blur_like(moving, fixed)
    current = inverse(start) if swapped else sitk.Euler3DTransform(start)
    for spacing, sigma in LEVELS:
        coarse = _coarse(fixed, spacing, sigma)
        to_anchor = current if swapped else sitk.Transform(3, sitk.sitkIdentity)
        mask = images.resample(rim, coarse, to_anchor, labels=True)
        _climb(coarse, mask, _coarse(moving, spacing, sigma), current, params, spacing, seed)
    return inverse(current) if swapped else current


def _climb(
    fixed: sitk.Image,
    mask: sitk.Image,
    moving: sitk.Image,
    current: sitk.Euler3DTransform,
    params: Mapping[str, Any],
    step: float,
    seed: int,
) -> None:
    """One level: change ``current`` in place."""
    voxels = int(np.count_nonzero(sitk.GetArrayViewFromImage(mask)))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(int(params["bins"]))
    method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.RANDOM)
    # a share of all voxels: samples outside the mask are dropped
    share = min(1.0, float(params["samples"]) / max(1, voxels))
    method.SetMetricSamplingPercentage(share, seed + 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step / 2.0,
        minStep=1e-3,
        numberOfIterations=100,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(current, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        what = "The mutual information can't be computed at the start of the alignment"
        hint = "The two images may hardly overlap, or one may be empty in the brain"
        raise VoxelwayError("E-OVERLAP", what, hint=hint) from error


def inverse(transform: sitk.Euler3DTransform) -> sitk.Euler3DTransform:
    """Inverse of a rigid transform, with the same centre."""
    rotation = np.asarray(transform.GetMatrix()).reshape(3, 3).T
    result = sitk.Euler3DTransform()
    result.SetCenter(transform.GetCenter())
    result.SetMatrix(rotation.ravel().tolist())
    result.SetTranslation((-rotation @ np.asarray(transform.GetTranslation())).tolist())
    return result


def _blur_like(image: sitk.Image, thick: sitk.Image) -> sitk.Image:
    """Blur across the slices of ``thick``, along the axis of ``image`` nearest to their normal."""
    spacing = np.asarray(thick.GetSpacing())
    normal = np.asarray(thick.GetDirection()).reshape(3, 3)[:, int(spacing.argmax())]
    axis = int(np.abs(np.asarray(image.GetDirection()).reshape(3, 3).T @ normal).argmax())
    # variances of the two profiles, taken as boxes, differ by this
    variance = (spacing.max() ** 2 - image.GetSpacing()[axis] ** 2) / 12.0
    if variance < 0.25 * image.GetSpacing()[axis] ** 2:
        return image
    return _gaussian(image, axis, float(np.sqrt(variance)))


def _gaussian(image: sitk.Image, axis: int, sigma: float) -> sitk.Image:
    order = sitk.RecursiveGaussianImageFilter.ZeroOrder
    return sitk.RecursiveGaussian(image, sigma, False, order, axis)


def _coarse(image: sitk.Image, spacing: float, sigma: float) -> sitk.Image:
    """Smooth and shrink towards ``spacing`` mm; axes that are coarser stay."""
    own = np.asarray(image.GetSpacing())
    smooth = image
    for axis in range(3):
        if sigma > own[axis]:
            smooth = _gaussian(smooth, axis, sigma / 2.0)
    factors = [int(n) for n in np.clip(np.round(spacing / own), 1, None)]
    return sitk.Cast(sitk.Shrink(smooth, factors), sitk.sitkFloat32)


def dilate(mask: sitk.Image, margin: float) -> sitk.Image:
    """Mask with a rim of ``margin`` mm, by distance (voxels may be thick)."""
    distance = sitk.SignedMaurerDistanceMap(
        sitk.Cast(mask, sitk.sitkUInt8), squaredDistance=False, useImageSpacing=True
    )
    return sitk.Cast(distance <= margin, sitk.sitkUInt8)


def _points(mask: sitk.Image, most: int = 20000) -> NDArray[np.float64]:
    """Points of a mask in LPS mm, shape (n, 3), every k-th voxel."""
    voxels = np.argwhere(images.bool_array(mask))[:, ::-1]
    if len(voxels) == 0:
        raise VoxelwayError("E-MASK-EMPTY", "The brain mask of the anchor is empty")
    voxels = voxels[:: max(1, len(voxels) // most)]
    matrix = np.asarray(mask.GetDirection()).reshape(3, 3) * np.asarray(mask.GetSpacing())
    places: NDArray[np.float64] = voxels @ matrix.T + np.asarray(mask.GetOrigin())
    return places


def _indices(
    points: NDArray[np.float64], image: sitk.Image, transform: sitk.Euler3DTransform
) -> NDArray[np.float64]:
    """Continuous indices (x, y, z) in ``image`` of the transformed points."""
    rotation = np.asarray(transform.GetMatrix()).reshape(3, 3)
    centre = np.asarray(transform.GetCenter())
    moved = (points - centre) @ rotation.T + centre + np.asarray(transform.GetTranslation())
    direction = np.asarray(image.GetDirection()).reshape(3, 3)
    found: NDArray[np.float64] = ((moved - np.asarray(image.GetOrigin())) @ direction) / np.asarray(
        image.GetSpacing()
    )
    return found


def overlap(brain: sitk.Image, other: sitk.Image, transform: sitk.Euler3DTransform) -> float:
    """Share of the brain's voxels that lie inside the other image's field of view."""
    places = _indices(_points(brain), other, transform)
    inside = (places >= -0.5) & (places <= np.asarray(other.GetSize()) - 0.5)
    return float(inside.all(axis=1).mean())


def similarity(
    anchor: sitk.Image,
    brain: sitk.Image,
    other: sitk.Image,
    transform: sitk.Euler3DTransform,
    bins: int = 32,
) -> float:
    """Normalised mutual information of two images in the brain.

    ``2 I(A;B) / (H(A) + H(B))``: 0 for independent images, 1 when one determines the other
    (symmetric uncertainty; Studholme et al. 1999 discuss its kin). Only voxels inside both
    images count.
    """
    moved = sitk.Resample(other, anchor, transform, sitk.sitkLinear, float("nan"), sitk.sitkFloat32)
    a, b = images.array(anchor), images.array(moved)
    inside = images.bool_array(brain) & np.isfinite(b)
    if int(inside.sum()) < 100:
        return 0.0
    joint = np.histogram2d(_ranks(a[inside], bins), _ranks(b[inside], bins), bins=bins)[0]
    joint /= joint.sum()
    separate = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))
    return float(2.0 * (1.0 - _entropy(joint.ravel()) / separate)) if separate > 0 else 0.0


def _ranks(values: NDArray[np.float32], bins: int) -> NDArray[np.float64]:
    low, high = np.percentile(values, [0.5, 99.5])
    scaled = (values - low) / max(float(high - low), 1e-12)
    return np.asarray(np.clip(scaled, 0.0, 1.0) * (bins - 1))


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())
