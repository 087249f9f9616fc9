"""What a registration method is."""

from __future__ import annotations

from typing import Protocol

import SimpleITK as sitk  # noqa: N813

from pipeline.register.fields import Registration


class Method(Protocol):
    """Finds the map from fixed to moving."""

    def __call__(
        self,
        moving: sitk.Image,
        fixed: sitk.Image,
        moving_mask: sitk.Image,
        fixed_mask: sitk.Image,
    ) -> Registration:
        """Register.

        Args:
            moving: float32, any grid, skull-stripped.
            fixed: float32, any grid, skull-stripped.
            moving_mask: brain on the moving grid, not empty.
            fixed_mask: brain on the fixed grid, not empty.

        Returns:
            Affine and both warps, the warps on the fixed grid.

        Raises:
            VoxelwayError: E-OVERLAP, E-SIGNAL.
        """
