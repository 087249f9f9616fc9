"""The super-resolution model that ships, on an image that is made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images, methods, models
from pipeline.superres import profile
from pipeline.superres.request import Request

from . import superres_cases as cases

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)


def folded() -> np.ndarray:
    """White matter in grey matter with folds, fluid within; oblique to the slices. 1 mm voxels."""
    z, y, x = (axis - 31.5 for axis in np.ogrid[:64, :64, :64])
    radius = np.sqrt(1.3 * z**2 + (y + 0.3 * z) ** 2 + (x - 0.2 * z) ** 2)
    fold = 2.5 * np.sin(0.45 * (x + 0.8 * z)) * np.cos(0.4 * (y - 0.7 * z))

    def inside(edge: float, folds: float) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(2.0 * (radius + folds * fold - edge)))

    found = 600.0 * inside(27.0, 0.5) + 300.0 * inside(21.0, 1.0) - 700.0 * inside(9.0, 0.5)
    return np.where(found > 5.0, found, 0.0)


@pytest.mark.parametrize("factor", [3.0, 4.5])
def test_the_model_that_ships_is_better_than_the_corrected_spline(factor: float) -> None:
    sharp = cases.image(folded(), (1.0, 1.0, 1.0))
    grid = images.spaced_grid(sharp, (1.0, 1.0, factor))
    shape = profile.make_profile(grid, None, "box", 1.0)
    acquired = profile.acquire(sharp, grid, IDENTITY, shape)
    asked = Request(acquired, sharp, IDENTITY, shape, 0.0, 2, "T1w")
    truth = images.array(sharp)

    def error(method: str) -> float:
        model = models.shipped("superres", method) if methods.learned("superres", method) else None
        made = methods.create("superres", method, cases.params(method=method), model)(asked)
        return float(np.sqrt(np.mean((images.array(made.image) - truth)[truth > 0] ** 2)))

    # two decibels
    assert error("anyscale") < 0.8 * error("bspline")
