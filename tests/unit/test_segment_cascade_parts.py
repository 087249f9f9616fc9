"""Windows, memory, mirrored channels, volumes and clean-up of the cascade, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from pipeline.segment.cascade import cleanup, memory, space, uncertainty, volume, window
from pipeline.segment.cascade.uncertainty import Limits
from tests.unit.cascade_cases import Nearest, level

CPU = torch.device("cpu")

# windows


def test_a_little_more_than_the_patch_goes_through_in_one_piece() -> None:
    route = window.way((30, 20, 10), (20, 20, 20), (4, 4, 4), 0.5)
    assert route.whole and route.size == route.patch == (32, 20, 20)


def test_windows_overlap_by_half() -> None:
    route = window.way((50, 20, 20), (20, 20, 20), (4, 4, 4), 0.5)
    assert route.size == (50, 20, 20) and route.patch == (20, 20, 20)
    assert [z for z, _, _ in route.starts] == [0, 10, 20, 30]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 70)] * 3),
    st.tuples(*[st.integers(4, 24)] * 3),
    st.sampled_from([1, 2, 4, 8]),
    st.floats(0, 0.75),
)
def test_windows_cover_the_volume(
    shape: tuple[int, int, int], patch: tuple[int, int, int], step: int, overlap: float
) -> None:
    route = window.way(shape, patch, (step,) * 3, overlap)
    seen = np.zeros(route.size, bool)
    for start in route.starts:
        assert all(n % step == 0 for n in route.patch)
        part = tuple(slice(a, a + n) for a, n in zip(start, route.patch, strict=True))
        assert seen[part].shape == route.patch
        seen[part] = True
    assert seen.all() and all(a >= b for a, b in zip(route.size, shape, strict=True))


def test_stitched_windows_equal_one_piece() -> None:
    torch.manual_seed(0)
    network = Nearest([0, 0.4, 0.9], inputs=2, sharp=3.0)
    values = torch.rand(2, 2, 40, 21, 50)
    whole = window.way((40, 21, 50), (40, 22, 50), (2, 2, 2), 0.5)
    several = window.way((40, 21, 50), (16, 16, 16), (2, 2, 2), 0.5)
    assert whole.whole and len(several.starts) > 20
    one = window.logits(network, values, whole, CPU)
    assert one.shape == (2, 3, 40, 21, 50)
    assert torch.allclose(window.logits(network, values, several, CPU), one, atol=1e-5)


def test_what_is_filled_up_is_the_lowest_value_of_the_channel() -> None:
    values = torch.tensor([[3.0, -2.0], [5.0, 7.0]]).reshape(1, 2, 1, 1, 2)
    filled = window.fill(values, (1, 3, 4))
    assert filled[0, 0].tolist() == [[[-2, -2, -2, -2], [-2, 3, -2, -2], [-2, -2, -2, -2]]]
    assert filled[0, 1].tolist() == [[[5, 5, 5, 5], [5, 5, 7, 5], [5, 5, 5, 5]]]


def test_a_small_image_is_in_the_middle_and_comes_back_as_it_was() -> None:
    network = Nearest([0, 0.4, 0.9], inputs=1, sharp=3.0)
    values = torch.rand(1, 1, 4, 6, 10)
    route = window.way((4, 6, 10), (8, 8, 16), (2, 2, 2), 0.5)
    found = window.logits(network, values, route, CPU)
    assert torch.allclose(found, network(values)[0])


def test_a_flat_network_goes_slice_by_slice() -> None:
    class Flat(nn.Module):
        dims, divisor = 2, (2, 2)

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            assert image.ndim == 4
            return [torch.cat([image.mean(dim=(2, 3), keepdim=True).expand_as(image), image], 1)]

    network = Flat()
    assert window.divisor(network) == (1, 2, 2)
    values = torch.arange(24.0).reshape(1, 1, 6, 2, 2)
    found = window.logits(network, values, window.way((6, 2, 2), (1, 2, 2), (1, 2, 2), 0), CPU)
    assert torch.allclose(found[0, 1], values[0, 0])
    assert found[0, 0, :, 0, 0].tolist() == pytest.approx([1.5, 5.5, 9.5, 13.5, 17.5, 21.5])


# memory


def test_memory_of_a_layer_is_what_goes_in_and_comes_out() -> None:
    network = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.Conv3d(8, 3, 1))
    found = memory.bytes_per_voxel(network, 2, (8, 8, 8))
    assert found == pytest.approx(memory.OVERHEAD * 4 * (8 + 3))


def test_the_limit_of_a_job_counts(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    job = root / "jobs" / "job1"
    job.mkdir(parents=True)
    groups.write_text("0::/jobs/job1\n")
    (job / "memory.max").write_text("max\n")
    (root / "jobs" / "memory.max").write_text("1000000\n")
    (root / "jobs" / "memory.current").write_text("700000\n")
    (root / "jobs" / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    assert memory._limits(groups, root) == [500000]
    assert memory._limits(tmp_path / "none", root) == []


# mirrored channels


def test_channels_of_the_other_side() -> None:
    pairs = {2: 41, 41: 2, 17: 53, 53: 17}
    assert uncertainty.mirrored([[2], [16], [41]], pairs) == [2, 1, 0]
    assert uncertainty.mirrored([[2, 41], [16], [17, 53]], pairs) == [0, 1, 2]
    assert uncertainty.mirrored([[2], [16]], pairs) is None
    assert uncertainty.mirrored([[1], [2]], {}) == [0, 1]


# volumes


def test_half_widths_by_hand() -> None:
    samples = np.array([[90.0, 5], [110, 5]])
    # samples 90 and 110: variance 200; then 16 mm3 that are expected to be wrong, and both
    spread = 1.959964 * math.sqrt(200)
    assert uncertainty.halves(samples, [0.0, 16.0]) == pytest.approx([spread, 16])
    assert uncertainty.halves(samples, [0.0, 16.0], 2.0) == pytest.approx([2 * spread, 32])
    assert uncertainty.halves(samples, [16.0, 0.0])[0] == pytest.approx(math.hypot(spread, 16))
    assert uncertainty.halves(np.array([[90.0]]), [4.0]) == pytest.approx([4.0])


def test_expected_wrong_by_hand() -> None:
    # p = 0.9 and 0.6 where it is labelled, 0.3 elsewhere: 0.1 + 0.4 + 0.3
    assert uncertainty.expected_wrong(1.5, 1.8, 2) == pytest.approx(0.8)
    assert uncertainty.expected_wrong(0.0, 0.0, 0) == 0.0


def test_expected_dice_by_hand() -> None:
    assert uncertainty.expected_dice(8.0, 10.0, 10.0) == pytest.approx(0.8)
    assert math.isnan(uncertainty.expected_dice(0.0, 0.0, 0.0))


def test_sums_of_both_sides() -> None:
    posterior = np.array(
        [[[[0.5, 0.0, 0.2]]], [[[0.1, 0.6, 0.3]]], [[[0.4, 0.4, 0.5]]]], np.float32
    )
    side = np.array([[[0, 1, 1]]], np.uint8)
    found = uncertainty.sums(posterior, [[7], [1, 2]], side)
    assert found == pytest.approx([1.0, 0.4, 0.9])


@pytest.mark.parametrize(
    ("mm3", "dice", "cut", "flag"),
    [
        (1000.0, 0.9, False, ""),
        (1000.0, 0.6, True, "unsure,cut"),
        (0.0, math.nan, False, "absent"),
        (399.0, 0.9, False, "small"),
        (401.0, 0.9, False, ""),
        (2501.0, 0.9, False, "large"),
    ],
)
def test_flags(mm3: float, dice: float, cut: bool, flag: str) -> None:
    facts = {"volume_ml": {"Left-Putamen": {"low": 0.5, "high": 2.0}}}
    limits = Limits(0.7, 1.25, uncertainty.training_volumes(facts))
    assert uncertainty.flag("Left-Putamen", mm3, dice, cut, limits) == flag
    assert "small" not in uncertainty.flag("unknown", mm3, dice, cut, limits)


def test_flags_are_told_in_one_sentence_each() -> None:
    rows = [{"name": f"s{n}", "flag": "unsure,cut" if n < 6 else ""} for n in range(8)]
    told = uncertainty.sentences(rows)
    assert told[0] == "Look at s0, s1, s2, s3 and 2 more: is unsure"
    assert len(told) == 2


# labels of channels and sides


def test_labels_of_channels() -> None:
    own = level("fine", [[3], [1, 2]])
    channels = np.array([[[0, 1, 2, 2]]])
    side = np.array([[[1, 1, 0, 1]]], np.uint8)
    assert space.labelled(channels, own, side).tolist() == [[[0, 3, 1, 2]]]
    assert space.labelled(channels, level("coarse", [[4], [5]]), None).tolist() == [[[0, 4, 5, 5]]]


def test_places_of_a_level_that_has_groups_itself() -> None:
    before, own = level("middle", [[1, 2]]), level("last", [[1, 2]])
    posterior = np.full((2, 1, 1, 2), 0.5, np.float32)
    side = np.array([[[0, 1]]], np.uint8)
    assert volume.sides(posterior, before, own, side).tolist() == [[[0, 1]]]


# clean-up


def line(*values: int) -> np.ndarray:
    return np.asarray(values, np.uint16).reshape(1, 1, -1)


def test_whole_keeps_what_is_connected_and_large_enough() -> None:
    labels = line(1, 1, 2, 2, 0, 1, 0, 2, 2)
    for keep, expected in ((1.0, [1, 1, 2, 2, 0, 0, 0, 0, 0]), (0.5, [1, 1, 2, 2, 0, 0, 0, 2, 2])):
        found = cleanup.Cleanup("whole", keep, holes=False)(labels)
        assert found.ravel().tolist() == expected
    assert cleanup.Cleanup("none", 1.0, holes=False)(labels) is not labels


def test_fragments_of_a_structure_take_what_is_nearest() -> None:
    labels = line(1, 1, 1, 2, 2, 1, 2, 2, 0, 0, 2, 0, 0)
    found = cleanup.Cleanup("structures", 0.9, holes=False)(labels)
    assert found.ravel().tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0]


def test_holes_take_the_nearest_label() -> None:
    labels = np.zeros((5, 5, 5), np.uint16)
    labels[:, :, :] = 3
    labels[:, :, :1] = 0
    labels[2, 2, 3] = 0
    found = cleanup.Cleanup("none", 1.0, holes=True)(labels)
    assert found[2, 2, 3] == 3 and not found[:, :, 0].any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.4, 0.8))
def test_holes_are_filled_and_nothing_else_changes(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    labels = draw.integers(1, 4, (6, 7, 8)) * (draw.random((6, 7, 8)) < share)
    found = cleanup.Cleanup("none", 1.0, holes=True)(labels.astype(np.uint16))
    holes = ndimage.binary_fill_holes(labels > 0) & (labels == 0)
    assert np.array_equal(found > 0, (labels > 0) | holes)
    assert np.array_equal(found[labels > 0], labels[labels > 0])
    apart = ndimage.distance_transform_edt(holes)
    for voxel in np.argwhere(holes):
        alike = np.argwhere((labels == found[tuple(voxel)]) & ~holes)
        # as near as anything is
        nearest = np.linalg.norm(alike - voxel, axis=1).min()
        assert nearest == pytest.approx(apart[tuple(voxel)])
