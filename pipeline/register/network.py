"""A registration network of a bundle, on a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from pipeline import device
from pipeline.bundles.networks import load
from pipeline.errors import VoxelwayError
from pipeline.networks.deformation import Deformation
from pipeline.register.frame import Frame

NAME = "register"

#: Architectures whose field holds an affine.
WITH_AFFINE = ("affine", "admir")


class Network:
    """Loaded once for any number of pairs.

    Attributes:
        spacing: voxel size that it was trained at, mm.
        predicts_affine: whether it aligns brains that no affine has aligned before.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """

    def __init__(self, bundle: Path) -> None:
        loaded = load(bundle, NAME)
        network = loaded.network(NAME, bundle)
        try:
            self.spacing = float(loaded.metadata["inputs"]["spacing_mm"])
            self.contrasts = loaded.metadata["inputs"]["contrasts"]
            name = loaded.metadata["architecture"][NAME]["name"]
        except (KeyError, TypeError, ValueError) as error:
            what = f"metadata.json lacks {error} of a registration network"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle)) from error
        self.predicts_affine = name in WITH_AFFINE
        self.device = device.choose()
        self.network = device.ready(network, self.device)

    @torch.no_grad()
    def __call__(self, frame: Frame) -> Deformation:
        """Fields on about the network's voxel size; corners are the frame's."""
        moving, fixed = (image.to(self.device) for image in frame.at(self.spacing))
        found: Deformation = self.network(moving, fixed)
        return found


def physical(matrix: torch.Tensor, frame: sitk.Image, shape: Any) -> sitk.AffineTransform:
    """A network's affine, about the grid's centre in voxels, as a map of LPS points.

    Args:
        matrix: (1, 3, 4), rows and columns in the order z, y, x.
        frame: grid of the frame.
        shape: Z, Y, X of the network's grid, whose corners are the frame's.
    """
    linear = matrix[0, :, :3].double().cpu().numpy()[::-1, ::-1]
    shift = matrix[0, :, 3].double().cpu().numpy()[::-1]
    size = np.asarray(frame.GetSize(), dtype=np.float64)
    steps = np.asarray(frame.GetSpacing()) * (size - 1) / (np.asarray(tuple(shape)[::-1]) - 1.0)
    axes = np.asarray(frame.GetDirection()).reshape(3, 3) * steps
    found = sitk.AffineTransform(3)
    centre = frame.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist())
    found.SetCenter(centre)
    found.SetMatrix((axes @ linear @ np.linalg.inv(axes)).ravel().tolist())
    found.SetTranslation((axes @ shift).tolist())
    return found
