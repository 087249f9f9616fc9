"""The deformable part of a registration: a network, the optimiser, or one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from torch import Tensor

from pipeline import device
from pipeline.networks.spatial import invert, resize
from pipeline.register.fields import Registration
from pipeline.register.frame import Frame, make_frame, to_itk
from pipeline.register.network import Network, physical
from pipeline.register.optimise import Settings, optimise

#: Fixed-point steps of the inverse on the frame's own voxels.
LAST_STEPS = 4


class Deformer:
    """Finds both warps of a pair after its affine.

    Args:
        optimisation: section ``optimisation``; None leaves the network's field as it is.
        network: predicts the start; None starts from zero.
    """

    def __init__(self, optimisation: Mapping[str, Any] | None, network: Network | None) -> None:
        self.network = network
        self.settings = None if optimisation is None else _settings(optimisation, network)
        self.finest = float(optimisation["finest"]) if optimisation is not None else 0.0

    def __call__(
        self,
        moving: sitk.Image,
        fixed: sitk.Image,
        masks: tuple[sitk.Image, sitk.Image],
        affine: sitk.AffineTransform,
    ) -> Registration:
        """Register.

        Raises:
            VoxelwayError: E-SIGNAL when a brain has no positive values.
        """
        frame = make_frame(moving, fixed, masks, affine, self._spacing(fixed))
        start: Tensor | None = None
        if self.network is not None:
            found = self.network(frame)
            if found.matrix is not None:
                own = physical(found.matrix, frame.grid, found.displacement.shape[2:])
                affine = _chained(affine, own)
                frame = make_frame(moving, fixed, masks, affine, frame.spacing)
            start = found.deformable
        field = self._refined(frame, start)
        inverse = _inverted(field)
        warps = (to_itk(each, frame.grid, fixed) for each in (field, inverse))
        return Registration(affine, *warps)

    def _spacing(self, fixed: sitk.Image) -> float:
        """Voxel size of the frame: the fixed image's where pairs are refined."""
        own = max(self.finest, float(np.min(fixed.GetSpacing())))
        if self.settings is None and self.network is not None:
            return max(self.network.spacing, own)
        return own

    def _refined(self, frame: Frame, start: Tensor | None) -> Tensor:
        if self.settings is None:
            assert start is not None
            return start
        place = device.choose()
        there = Frame(frame.grid, frame.fixed.to(place), frame.moving.to(place))
        return optimise(there, self.settings, start)


def _inverted(field: Tensor) -> Tensor:
    """Inverse by fixed points on every second voxel, and a few on all: a third of the time."""
    shape = field.shape[2:]
    coarse = invert(resize(field, [max(4, (n + 1) // 2) for n in shape]))
    return invert(field, LAST_STEPS, resize(coarse, shape))


def _settings(section: Mapping[str, Any], network: Network | None) -> Settings:
    """Levels that are coarser than the network has worked already are left out."""
    levels = list(zip(section["spacings"], section["iterations"], strict=True))
    if network is not None:
        levels = [level for level in levels if level[0] <= network.spacing + 1e-6]
    return Settings(
        [float(spacing) for spacing, _ in levels],
        [int(count) for _, count in levels],
        section["similarity"],
        int(section["window"]),
        float(section["step"]),
        float(section["smoothing"]),
        float(section["field_smoothing"]),
    )


def _chained(outer: sitk.AffineTransform, inner: sitk.AffineTransform) -> sitk.AffineTransform:
    """The one affine that maps ``p`` to ``outer(inner(p))``."""
    matrices = [np.asarray(each.GetMatrix()).reshape(3, 3) for each in (outer, inner)]
    found = sitk.AffineTransform(3)
    found.SetMatrix((matrices[0] @ matrices[1]).ravel().tolist())
    origin = outer.TransformPoint(inner.TransformPoint((0.0, 0.0, 0.0)))
    found.SetTranslation(list(origin))
    return found
