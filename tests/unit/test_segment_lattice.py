"""Interpolation between grids, by matrices: as ITK does it, voxel by voxel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from pipeline import images
from pipeline.segment.cascade import lattice, volume
from pipeline.segment.cascade.lattice import Lattice

TURN = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
TURNS = [
    np.eye(3)[list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((-1.0, 1.0), repeat=3)
]


def grid(
    size: tuple[int, ...], spacing: tuple[float, ...], middle: NDArray[np.float64],
    turn: NDArray[np.float64],
) -> sitk.Image:  # fmt: skip
    """Empty grid about a point."""
    result = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    result.SetSpacing([float(v) for v in spacing])
    result.SetDirection(turn.ravel().tolist())
    half = (np.asarray(size) - 1) * np.asarray(spacing) / 2
    result.SetOrigin((middle - turn @ half).tolist())
    return result


def itk(values: NDArray[np.float32], own: sitk.Image, target: sitk.Image) -> NDArray[np.float32]:
    padded = sitk.ZeroFluxNeumannPad(images.like(values, own), [1, 1, 1], [1, 1, 1])
    return images.array(sitk.Resample(padded, target, sitk.Transform(), sitk.sitkLinear, 7.0))


sizes = st.tuples(*[st.integers(1, 9)] * 3)
lengths = st.tuples(*[st.floats(0.5, 3.0)] * 3)


@settings(max_examples=60, deadline=None)
@given(sizes, lengths, sizes, lengths, st.tuples(*[st.floats(-4, 4)] * 3), st.sampled_from(TURNS),
       st.integers(0, 99))  # fmt: skip
def test_turned_axes_and_other_voxels_are_as_itk_has_them(
    size: tuple[int, ...], spacing: tuple[float, ...], other: tuple[int, ...],
    fine: tuple[float, ...], shift: tuple[float, ...], turn: NDArray[np.float64], seed: int,
) -> None:  # fmt: skip
    middle = np.asarray((-30.0, 12.0, 5.0))
    own = grid(size, spacing, middle, TURN)
    target = grid(other, fine, middle + np.asarray(shift), TURN @ turn)
    values = np.random.default_rng(seed).normal(size=size[::-1]).astype(np.float32)
    found = lattice.linear(values, own, target, outside=7.0)
    wanted = itk(values, own, target)
    straight = Lattice.of(own, target)
    assert straight is not None
    # on the very border of what is outside rounding decides
    for axis, places in enumerate(straight.places):
        count = values.shape[straight.axes[axis]]
        edge = np.minimum(np.abs(places + 1.5), np.abs(places - count - 0.5)) < 1e-2
        found, wanted = (np.delete(one, np.flatnonzero(edge), axis) for one in (found, wanted))
    # a thousandth of a voxel counts as none
    assert found == pytest.approx(wanted, abs=2e-2)


def test_a_rotated_grid_is_as_itk_has_it() -> None:
    own = grid((9, 8, 7), (1.0, 1.5, 2.0), np.zeros(3), np.eye(3))
    target = grid((6, 6, 6), (1.2, 1.0, 1.7), np.ones(3), TURN)
    values = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    assert Lattice.of(own, target) is None
    assert lattice.linear(values, own, target, 7.0) == pytest.approx(itk(values, own, target))


def test_values_end_one_voxel_beyond_their_grid() -> None:
    small = grid((2, 2, 2), (2, 2, 2), np.zeros(3), np.eye(3))
    wide = grid((7, 2, 2), (2, 2, 2), np.asarray((1.0, 0.0, 0.0)), np.eye(3))
    values = np.array([[[1.0, 3.0]] * 2] * 2, np.float32)
    found = lattice.linear(values, small, wide, outside=9.0)
    assert found[0, 0].tolist() == [9.0, 1.0, 1.0, 3.0, 3.0, 9.0, 9.0]


@pytest.mark.parametrize("turn", [TURNS[0], TURNS[-1], np.eye(3)])
def test_what_comes_back_is_new(turn: NDArray[np.float64]) -> None:
    own = grid((3, 4, 5), (1, 1, 1), np.zeros(3), np.eye(3))
    values = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    kept = values.copy()
    size = tuple(np.rint(np.abs(turn.T @ (3, 4, 5))).astype(int).tolist())
    found = lattice.linear(values, own, grid(size, (1, 1, 1), np.zeros(3), turn))
    assert sorted(found.ravel().tolist()) == sorted(kept.ravel().tolist())
    assert found.flags.c_contiguous and found.flags.writeable
    found[:] = 0.0
    assert np.array_equal(values, kept)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.floats(0.3, 2.5)] * 3))
def test_smoothing_is_scipys(size: tuple[int, int, int], deviations: tuple[float, ...]) -> None:
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    found = lattice.smoothed(torch.from_numpy(values), deviations).numpy()
    wanted = ndimage.gaussian_filter(values, deviations, mode="nearest")
    assert found == pytest.approx(wanted, abs=1e-5)


def test_smoothing_on_the_way_is_smoothing_before() -> None:
    own = grid((20, 16, 12), (1, 1, 1), np.zeros(3), np.eye(3))
    target = grid((6, 5, 9), (3, 3, 1.3), np.ones(3), TURNS[5])
    values = np.random.default_rng(0).normal(size=(12, 16, 20)).astype(np.float32)
    before = lattice.smoothed(torch.from_numpy(values), (0.0, 1.2, 0.7)).numpy()
    found = lattice.linear(values, own, target, deviations=(0.0, 1.2, 0.7))
    assert found == pytest.approx(lattice.linear(before, own, target), abs=1e-5)


def test_a_coarser_grid_shows_the_mean() -> None:
    own = grid((32, 32, 32), (1, 1, 1), np.zeros(3), np.eye(3))
    stripes = np.zeros((32, 32, 32), np.float32)
    stripes[:, :, ::2] = 2.0
    coarse = volume.onto(images.like(stripes, own), images.spaced_grid(own, (4.0, 4.0, 4.0)))
    inner = images.array(coarse)[1:-1, 1:-1, 1:-1]
    assert inner == pytest.approx(np.ones_like(inner), abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from(TURNS), st.floats(0.6, 2.0), st.floats(0.0, 4.0))
def test_a_box_holds_all_that_is_not_nothing(
    seed: int, turn: NDArray[np.float64], spacing: float, rim: float
) -> None:
    draw = np.random.default_rng(seed)
    own = grid((8, 9, 10), (1.0, 1.2, 0.9), np.zeros(3), TURN)
    target = grid((9, 7, 8), (spacing,) * 3, draw.normal(0, 3, 3), TURN @ turn)
    values = np.zeros((10, 9, 8), np.float32)
    low = draw.integers(0, 7, 3)
    z, y, x = (slice(a, a + n) for a, n in zip(low, draw.integers(0, 4, 3), strict=True))
    values[z, y, x] = draw.random(values[z, y, x].shape) + 0.5
    box, found = lattice.placed(values, own, target, 0.1, rim)
    wide = np.zeros(target.GetSize()[::-1], np.float32)
    wide[box] = found
    assert wide == pytest.approx(lattice.linear(values, own, target), abs=1e-5)


def test_a_box_of_nothing_is_empty() -> None:
    own = grid((4, 5, 6), (1, 1, 1), np.zeros(3), np.eye(3))
    box, found = lattice.placed(np.zeros((6, 5, 4), np.float32), own, own)
    assert box == (slice(0, 0),) * 3 and found.size == 0


def test_a_box_on_a_rotated_grid_is_all_of_it() -> None:
    own = grid((4, 5, 6), (1, 1, 1), np.zeros(3), np.eye(3))
    target = grid((5, 5, 5), (1, 1, 1), np.zeros(3), TURN)
    values = np.ones((6, 5, 4), np.float32)
    box, found = lattice.placed(values, own, target)
    assert box == (slice(0, 5),) * 3
    assert np.array_equal(found, lattice.linear(values, own, target))
