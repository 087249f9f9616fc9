"""One case as a random scanner would see it, on any grid: moved, deformed, drawn, degraded.

A scene is drawn once and rendered on the grids of all levels, so that what the coarse level sees
and what the fine level sees is one head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.segment.cascade.volume import onto
from pipeline.segment.learning import artefacts
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.contrast import Contrasts, Palette

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Edge of the lattice on which deformations and bias fields are drawn, mm.
KNOT = 12.0


@dataclass(frozen=True)
class Variety:
    """How far scenes differ from their case; a probability, or the largest value.

    Attributes:
        flip: probability of a mirrored scene (left and right are exchanged in the labels too).
        rotation: degrees about each axis.
        scale: share of the size, each axis.
        shear: share.
        shift: mm, each axis.
        elastic: deviation of the displacement, mm.
        bias: deviation of the logarithm of the bias field.
        gamma: deviation of the logarithm of the exponent.
        noise: largest deviation of the noise, share of the range.
        blur: largest deviation of the blur, mm.
        thick: probability of thick slices.
        thickest: mm.
        strip: probability that what lies outside the learned labels is black (drawn images).
        crop: probability that a part of the head is outside the field of view (drawn images).
        cutout: probability that a small box is replaced by noise.
        gibbs: probability of Gibbs ringing.
        spikes: probability of a spike in k-space.
        coarse: probability of an image of fewer voxels, interpolated.
    """

    flip: float = 0.0
    rotation: float = 12.0
    scale: float = 0.12
    shear: float = 0.05
    shift: float = 6.0
    elastic: float = 2.0
    bias: float = 0.25
    gamma: float = 0.25
    noise: float = 0.06
    blur: float = 0.6
    thick: float = 0.2
    thickest: float = 6.0
    strip: float = 0.0
    crop: float = 0.0
    cutout: float = 0.0
    gibbs: float = 0.0
    spikes: float = 0.0
    coarse: float = 0.0

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Variety:
        """Read ``segment.learning.variety``."""
        return cls(**{key: float(value) for key, value in section.items()})

    @classmethod
    def none(cls) -> Variety:
        """A scene that is the case itself."""
        return cls(*(0.0 for _ in fields(cls)))

    @classmethod
    def ordinary(cls) -> Variety:
        """A head that stays where it is, in a common scanner: some bias, blur and noise."""
        return replace(cls.none(), bias=0.2, gamma=0.1, noise=0.04, blur=0.6)


class Scene:
    """A case under one random transform, contrast and scanner.

    Args:
        case: images with labels, or a label map.
        rng: of the transform, the contrast and the scanner.
        variety: how random.
        contrasts: for label maps.
        pairs: look-up table from a label to the one on the other side.
        learned: labels that are learned, which stay when a head is stripped.
    """

    def __init__(
        self,
        case: Case,
        rng: np.random.Generator,
        variety: Variety,
        contrasts: Contrasts | None,
        pairs: NDArray[np.int64],
        learned: NDArray[np.int64],
    ) -> None:
        self.case, self.variety = case, variety
        self.pairs, self.learned = pairs, learned
        self.mirrored = bool(rng.random() < variety.flip)
        self.transform = _transform(case.labels, rng, variety, self.mirrored)
        self.palette = contrasts.draw(rng) if contrasts is not None else None
        self.stripped = bool(rng.random() < variety.strip)
        self.bias = _bias(case.labels, rng, variety.bias)
        self.gamma = float(np.exp(rng.normal(0.0, variety.gamma)))
        self.noise = float(rng.uniform(0.0, variety.noise))
        self.blur = float(rng.uniform(0.0, variety.blur))
        thick = rng.random() < variety.thick
        self.thick_axis = int(rng.integers(3)) if thick else -1
        self.thickness = float(rng.uniform(2.0, max(variety.thickest, 2.0))) if thick else 0.0
        self.view = _view(case.labels, rng, variety.crop)
        self._kept: tuple[sitk.Image, Labels] | None = None

    @property
    def drawn(self) -> bool:
        """Whether the image is made from the labels."""
        return self.palette is not None

    def labels(self, grid: sitk.Image) -> Labels:
        """Labels on a grid, (Z, Y, X).

        Those of the last grid are kept; a patch of it is cut out, with background beyond it.
        """
        if self._kept is not None:
            start = _start(self._kept[0], grid)
            if start is not None:
                return _cut(self._kept[1], start[::-1], grid.GetSize()[::-1])
        frame = sitk.Image(grid.GetSize(), sitk.sitkUInt8)
        frame.CopyInformation(grid)
        self._kept = (frame, self._sampled(grid))
        return self._kept[1]

    def _sampled(self, grid: sitk.Image) -> Labels:
        moved = sitk.Resample(
            self.case.labels, grid, self.transform, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt16
        )
        values: Labels = sitk.GetArrayFromImage(moved).astype(np.int64)
        return self.pairs[values] if self.mirrored else values

    def visible(self, grid: sitk.Image) -> NDArray[np.bool_]:
        """Voxels of a grid inside the field of view, (Z, Y, X)."""
        found = self._covered(grid)
        if self.view is not None:
            found &= images.array(images.resample(self.view, grid, order=1)) > 0.5
        return found

    def _covered(self, grid: sitk.Image) -> NDArray[np.bool_]:
        """Voxels of a grid that a drawn image reaches; all of them where there is an image."""
        found = np.ones(grid.GetSize()[::-1], np.bool_)
        if not self.drawn:
            return found
        own = self.case.labels
        start = own.TransformPhysicalPointToContinuousIndex(grid.GetOrigin())
        for axis, (first, count) in enumerate(zip(start, grid.GetSize(), strict=True)):
            step = grid.GetSpacing()[axis] / own.GetSpacing()[axis]
            place = first + step * np.arange(count)
            inside = (place >= -0.5) & (place <= own.GetSize()[axis] - 0.5)
            found &= np.moveaxis(inside.reshape(-1, 1, 1), 0, 2 - axis)
        return found

    def image(self, grid: sitk.Image, rng: np.random.Generator) -> Floats:
        """The image on a grid, (C, Z, Y, X), not scaled.

        Args:
            grid: in the space of the case.
            rng: of the noise, so that a patch does not depend on those before it.
        """
        if self.palette is not None:
            painted = self._painted(self.palette, grid, rng)
            drawn = self._exposed(painted, grid, rng)
            covered = self._covered(grid)
            if covered.any():
                # as inference fills an image up; other values beyond an image mislead a network
                drawn[~covered] = drawn[covered].min()
            return drawn[None]
        found = [
            self._exposed(images.array(self._moved(image, grid)), grid, rng)
            for image in self.case.images
        ]
        return np.stack(found)

    def _moved(self, image: sitk.Image, grid: sitk.Image) -> sitk.Image:
        """The case's image, linear, after a low-pass filter where the grid is coarser."""
        if np.any(np.asarray(grid.GetSpacing()) > 1.5 * np.asarray(image.GetSpacing())):
            image = onto(image, images.spaced_grid(image, grid.GetSpacing()))
        lowest = float(sitk.GetArrayViewFromImage(image).min())
        return images.resample(image, grid, self.transform, order=1, default=lowest)

    def _painted(
        self,
        palette: Palette,
        grid: sitk.Image,
        rng: np.random.Generator,
    ) -> Floats:
        coarse = min(grid.GetSpacing()) > 2.5
        if coarse:
            # several samples a voxel, whose mean shows the partial volume
            fine = images.spaced_grid(grid, tuple(v / 2 for v in grid.GetSpacing()))
            labels = self.labels(fine)
        else:
            labels = self.labels(grid)
        if self.stripped:
            labels = np.where(np.isin(labels, self.learned), labels, 0)
        noise = rng.standard_normal(labels.shape, dtype=np.float32)
        values = palette.mean[labels] + palette.deviation[labels] * noise
        if coarse:
            z, y, x = (n // 2 for n in values.shape)
            values = values[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean((1, 3, 5))
        return np.asarray(values, dtype=np.float32)

    def _exposed(self, values: Floats, grid: sitk.Image, rng: np.random.Generator) -> Floats:
        """Bias field, gamma, blur, thick slices, artefacts, noise, field of view."""
        low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
        span = max(high - low, 1e-6)
        scaled = np.clip((values - low) / span, 0.0, 2.0) ** self.gamma
        if self.bias is not None:
            scaled *= np.exp(images.array(images.resample(self.bias, grid, order=1)))
        scaled = self._scanned(self._blurred(scaled, grid), rng)
        if self.noise:
            scaled += self.noise * rng.standard_normal(scaled.shape, dtype=np.float32)
        if self.view is not None:
            scaled *= images.array(images.resample(self.view, grid, order=1))
        if self.variety.cutout and rng.random() < self.variety.cutout:
            scaled = artefacts.cutout(scaled, rng)
        return np.asarray(low + span * scaled, dtype=np.float32)

    def _scanned(self, values: Floats, rng: np.random.Generator) -> Floats:
        """Artefacts; those that are not asked for draw no number."""
        makers = (
            (self.variety.coarse, artefacts.few_voxels),
            (self.variety.gibbs, artefacts.ringing),
            (self.variety.spikes, artefacts.spikes),
        )
        for share, make in makers:
            if share and rng.random() < share:
                values = make(values, rng)
        return values

    def _blurred(self, values: Floats, grid: sitk.Image) -> Floats:
        spacing = np.asarray(grid.GetSpacing())[::-1]
        width = np.full(3, self.blur)
        if self.thick_axis >= 0:
            width[self.thick_axis] = max(self.thickness / 2.355, self.blur)
        sigma = width / spacing
        blurred = values
        if (sigma > 0.2).any():
            blurred = ndimage.gaussian_filter(values, np.where(sigma > 0.2, sigma, 0.0))
        return np.asarray(blurred, dtype=np.float32)


def _start(whole: sitk.Image, grid: sitk.Image) -> list[int] | None:
    """Voxel of a grid that another one's first is (x, y, z); None when it shares no voxels."""
    if not np.allclose(whole.GetSpacing(), grid.GetSpacing(), rtol=1e-9):
        return None
    if not np.allclose(whole.GetDirection(), grid.GetDirection(), atol=1e-9):
        return None
    start = np.asarray(whole.TransformPhysicalPointToContinuousIndex(grid.GetOrigin()))
    first = np.round(start).astype(int)
    apart = first >= whole.GetSize(), first + grid.GetSize() <= 0
    if np.abs(start - first).max() > 1e-3 or np.any(apart):
        return None
    return [int(n) for n in first]


def _cut(values: Labels, start: Sequence[int], size: Sequence[int]) -> Labels:
    """A box of (Z, Y, X), 0 where it reaches beyond the values."""
    found = np.zeros(tuple(size), values.dtype)
    ends = list(zip(start, size, values.shape, strict=True))
    inside = tuple(slice(max(first, 0), min(first + n, own)) for first, n, own in ends)
    place = tuple(slice(max(-first, 0), min(n, own - first)) for first, n, own in ends)
    found[place] = values[inside]
    return found


def _transform(
    labels: sitk.Image, rng: np.random.Generator, variety: Variety, mirrored: bool
) -> sitk.Transform:
    """Affine about the centre, then elastic; maps points of the scene to points of the case."""
    centre = labels.TransformContinuousIndexToPhysicalPoint(
        [(n - 1) / 2.0 for n in labels.GetSize()]
    )
    affine = sitk.AffineTransform(3)
    affine.SetCenter(centre)
    matrix = _rotation(np.deg2rad(rng.uniform(-1, 1, 3) * variety.rotation))
    matrix = matrix @ np.diag(np.exp(rng.uniform(-1, 1, 3) * variety.scale))
    shear = np.eye(3) + np.triu(rng.uniform(-1, 1, (3, 3)) * variety.shear, 1)
    matrix = matrix @ shear
    if mirrored:
        matrix = matrix @ np.diag([-1.0, 1.0, 1.0])
    affine.SetMatrix(matrix.ravel().tolist())
    affine.SetTranslation((rng.uniform(-1, 1, 3) * variety.shift).tolist())
    if not variety.elastic:
        return affine
    field = sitk.Cast(_smooth_field(labels, rng, variety.elastic), sitk.sitkVectorFloat64)
    whole = sitk.CompositeTransform(3)
    whole.AddTransform(affine)
    whole.AddTransform(sitk.DisplacementFieldTransform(field))
    return whole


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", angles).as_matrix())


def _knots(labels: sitk.Image) -> sitk.Image:
    """Coarse lattice over the case and a rim of it."""
    rim = [int(np.ceil(2 * KNOT / s)) for s in labels.GetSpacing()]
    size = [n + 2 * more for n, more in zip(labels.GetSize(), rim, strict=True)]
    blank = sitk.Image(size, sitk.sitkUInt8)
    blank.SetSpacing(labels.GetSpacing())
    blank.SetDirection(labels.GetDirection())
    blank.SetOrigin(labels.TransformIndexToPhysicalPoint([-more for more in rim]))
    return images.spaced_grid(blank, (KNOT, KNOT, KNOT))


def _smooth_field(labels: sitk.Image, rng: np.random.Generator, size: float) -> sitk.Image:
    lattice = _knots(labels)
    shape = lattice.GetSize()[::-1]
    noise = rng.standard_normal((*shape, 3), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, (1.0, 1.0, 1.0, 0.0))
    smooth *= rng.uniform(0.0, size) / max(float(smooth.std()), 1e-6)
    field = sitk.GetImageFromArray(smooth, isVector=True)
    field.CopyInformation(lattice)
    return field


def _bias(labels: sitk.Image, rng: np.random.Generator, size: float) -> sitk.Image | None:
    """Logarithm of a smooth bias field, on a coarse lattice."""
    if not size:
        return None
    lattice = _knots(labels)
    noise = rng.standard_normal(lattice.GetSize()[::-1], dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 4.0)
    smooth *= rng.uniform(0.0, size) / max(float(smooth.std()), 1e-6)
    return images.like(smooth, lattice)


def _view(labels: sitk.Image, rng: np.random.Generator, share: float) -> sitk.Image | None:
    """1 inside the field of view, 0 outside: a slab at one end of one axis is cut off."""
    if not rng.random() < share:
        return None
    inside = np.ones(labels.GetSize()[::-1], np.float32)
    axis, cut = int(rng.integers(3)), float(rng.uniform(0.05, 0.35))
    size = round(cut * inside.shape[axis])
    slab = [slice(None)] * 3
    slab[axis] = slice(0, size) if rng.random() < 0.5 else slice(inside.shape[axis] - size, None)
    inside[tuple(slab)] = 0.0
    view = images.like(inside, labels)
    # what lies beyond the label map is background anyway
    return sitk.ConstantPad(view, [40] * 3, [40] * 3, 1.0)
