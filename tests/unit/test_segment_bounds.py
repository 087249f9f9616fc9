"""A brain mask as a bound: distances by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.segment.cascade.bounds import Bounds

#: A box of 20 mm in a field of view of 60 mm.
SHAPE, PART = (30, 30, 30), (slice(10, 20),) * 3


def mask(spacing: float = 2.0, orientation: str = "LPS") -> sitk.Image:
    values = np.zeros(SHAPE, np.uint8)
    values[PART] = 1
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((spacing,) * 3)
    return sitk.DICOMOrient(image, orientation)


def reach(bounds: Bounds, grid: sitk.Image) -> list[int]:
    """First and last voxel inside, along the middle line of x."""
    line = bounds.inside(grid)[15, 15]
    found = np.flatnonzero(line)
    return [int(found[0]), int(found[-1])]


def test_without_a_margin_it_is_the_mask() -> None:
    own = mask()
    assert np.array_equal(Bounds.of(own, 0.0).inside(own), images.bool_array(own))


@pytest.mark.parametrize(("margin", "more"), [(2.0, 1), (4.0, 2), (5.9, 2), (6.0, 3)])
def test_a_margin_is_in_millimetres(margin: float, more: int) -> None:
    assert reach(Bounds.of(mask(), margin), mask()) == [10 - more, 19 + more]


def test_more_is_let_in_where_it_is_asked_for() -> None:
    own = mask()
    wider = Bounds.of(own, 2.0).inside(own, more=2.0)
    assert np.array_equal(wider, Bounds.of(own, 4.0).inside(own))


def test_the_bound_is_the_same_on_other_grids_and_orientations() -> None:
    fine = images.spaced_grid(mask(), (1.0, 1.0, 1.0))
    straight, turned = (
        Bounds.of(mask(orientation=one), 2.0).inside(fine) for one in ("LPS", "SAR")
    )
    assert np.array_equal(straight, turned)
    # 20 mm and twice the margin, within a voxel of each face
    width = np.count_nonzero(straight[30, 30])
    assert 22 <= width <= 26


def test_fine_masks_are_measured_on_coarser_voxels() -> None:
    own = mask(spacing=0.5)
    bounds = Bounds.of(own, 1.0)
    assert bounds.distance.GetSpacing() == pytest.approx((1.875,) * 3, rel=0.1)
    # 5 mm and a margin of 1 on each side, in voxels of 0.5 mm
    width = np.count_nonzero(bounds.inside(own)[15, 15])
    assert 10 <= width <= 18


def test_what_lies_beyond_the_masks_field_of_view_is_out() -> None:
    own = mask()
    far = sitk.Image(own)
    far.SetOrigin((200.0, 0.0, 0.0))
    assert not Bounds.of(own, 2.0).inside(far).any()
