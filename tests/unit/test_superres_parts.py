"""Parts of learned super-resolution: profiles, networks, samples, losses; answers by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline import images, networks
from pipeline.errors import VoxelwayError
from pipeline.networks import anyscale
from pipeline.restore.volumes import Volume
from pipeline.superres import condition, profile, sampling
from pipeline.superres.learning import draw, fixed, guided, losses, thick
from pipeline.superres.learning.contrast import remap
from pipeline.superres.learning.recipe import SuperresRecipe, psnr, seen

from . import superres_cases as cases


def test_slices_of_a_box_are_means_by_hand() -> None:
    # slices of 4 voxels over 0, 1, 2, …: means of linear values, whatever the sampling
    box = profile.weights(4.0, "box", 1.0)
    matrix = sampling.slices(np.array([1.5, 5.5, 9.5, 13.5]), box, 16)
    found = matrix @ np.arange(16.0)
    assert found[1:3] == pytest.approx([5.5, 9.5], abs=1e-5)
    assert matrix.sum(axis=1) == pytest.approx(1.0, abs=1e-6)


def test_a_thin_slice_is_a_point() -> None:
    matrix = sampling.slices(np.array([0.0, 2.25]), profile.weights(1.0, "rf", 1.0), 4)
    assert matrix == pytest.approx(np.array([[1, 0, 0, 0], [0, 0, 0.75, 0.25]]))


@pytest.mark.parametrize("shape", ["box", "gaussian", "rf"])
def test_profiles_are_as_wide_as_they_say(shape: str) -> None:
    offsets, weights = profile.weights(6.0, shape, 0.2)
    assert weights.sum() == pytest.approx(1.0)
    assert weights == pytest.approx(weights[::-1])
    above = offsets[weights >= weights.max() / 2]
    assert np.ptp(above) == pytest.approx(6.0, abs=0.3)


def test_the_rf_profile_has_slopes_and_reaches_its_neighbours() -> None:
    offsets, weights = profile.weights(4.0, "rf", 0.2)
    reach = np.abs(offsets) > 2.0
    assert 0.02 < np.abs(weights[reach]).sum() < 0.25


@given(st.integers(2, 9), st.floats(1.0, 6.0), st.floats(-2.0, 2.0))
@settings(max_examples=25, deadline=None)
def test_spline_is_that_of_scipy(count: int, spacing: float, first: float) -> None:
    middles, places = first + spacing * np.arange(count), np.arange(-3.0, 20.0)
    values = np.random.default_rng(count).normal(size=count)
    wanted = ndimage.map_coordinates(values, [(places - first) / spacing], order=3, mode="mirror")
    assert sampling.spline(middles, places) @ values == pytest.approx(wanted, abs=1e-5)


def test_the_correction_gives_back_the_slices() -> None:
    matrix = sampling.slices(np.arange(4) * 3 + 1.0, profile.weights(3.0, "box", 1.0), 12)
    wanted = np.array([1.0, -2.0, 0.5, 4.0])
    change = sampling.correction(matrix, 0.0) @ wanted
    assert matrix @ change == pytest.approx(wanted, abs=1e-5)
    # the smallest such change lies in the space of the rows
    smallest = matrix.T @ np.linalg.solve(matrix @ matrix.T, wanted)
    assert change == pytest.approx(smallest, abs=1e-4)


def test_matrices_go_along_their_axes() -> None:
    volume = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    a, b, c = (np.random.default_rng(n).normal(size=(n, n + 2)).astype("f4") for n in (2, 3, 4))
    wanted = np.einsum("ai,bj,ck,ijk->abc", a, b, c, volume)
    assert sampling.apply([a, b, c], volume) == pytest.approx(wanted, abs=1e-4)
    assert np.array_equal(sampling.apply([None, None, None], volume), volume)


def test_the_condition_tells_where_the_slices_are() -> None:
    told = condition.describe(9, 1.0, (4.0, 1.0, 2.0), 3.0)
    assert told.shape == (6, 9)
    # on a slice, halfway to the next, on the next
    assert told[0, [1, 3, 5]] == pytest.approx([1.0, -1.0, 1.0], abs=1e-6)
    assert told[2:, 0] == pytest.approx([4 / 6, 3 / 6, 1 / 6, 2 / 6])


def test_a_network_for_any_factor_finds_the_slices_again() -> None:
    # slices of 3 rows, the middle of the first at row 1; between them no row is left out
    told = torch.from_numpy(condition.describe(6, 1.0, (3.0, 1.0, 1.0), 3.0))
    slices, nodes, between = anyscale.lattices(told, 3)
    ramp = torch.arange(6.0)
    assert (slices @ ramp).tolist() == pytest.approx([1.0, 4.0], abs=1e-5)
    # three nodes a slice: at its ends, half a row beyond its rows, and in its middle
    assert (nodes @ ramp).tolist() == pytest.approx([0.0, 1.0, 2.5, 2.5, 4.0, 5.0], abs=1e-5)
    # the row before the middle is a third of the way from the first node to the second
    assert between[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 0], abs=1e-5)
    assert between[4].tolist() == pytest.approx([0, 0, 0, 0, 1, 0], abs=1e-5)


@given(st.floats(1.0, 6.0), st.floats(0.0, 1.0), st.floats(0.7, 1.2), st.integers(3, 40))
@settings(max_examples=50, deadline=None)
def test_lattices_of_any_factor_and_phase(
    factor: float, phase: float, share: float, count: int
) -> None:
    first = phase * (factor if factor > 1 else 0)
    told = condition.describe(count, first, (factor, 1.0, 1.0), share * factor)
    for matrix in anyscale.lattices(torch.from_numpy(told), 5):
        assert torch.allclose(matrix.sum(1), torch.ones(len(matrix)), atol=1e-4)
        assert float(matrix.min()) >= 0


def test_brightness_changes_nothing_of_what_is_added() -> None:
    torch.manual_seed(0)
    made = networks.build("anyscale", cases.TINY["anyscale"])
    image = torch.rand(1, 1, 8, 7, 6)
    told = torch.from_numpy(condition.describe(8, 0.5, (2.0, 1.0, 1.0), 2.0))[None]
    with torch.no_grad():
        dark, bright = (made(image + lift, told) - (image + lift) for lift in (0.0, 0.5))
    assert dark.abs().max() > 1e-5
    assert torch.allclose(dark, bright, atol=2e-6)


@pytest.mark.parametrize("name", sorted(cases.TINY))
def test_networks_start_as_the_interpolation(name: str) -> None:
    torch.manual_seed(0)
    made = networks.build(name, cases.TINY[name])
    factor = cases.TINY[name].get("factor", 1)
    image = torch.rand(2, 1, 5, 7, 6)
    found = made(image, torch.rand(2, 6, 5))
    assert found.shape == (2, 1, 5 * factor, 7, 6)
    if name != "srcnn":
        start = image.repeat_interleave(factor, dim=2)
        assert torch.allclose(found, start, atol=1e-2)


def test_saint_treats_both_planes_alike() -> None:
    torch.manual_seed(1)
    made = networks.build("saint", cases.TINY["saint"])
    with torch.no_grad():
        for values in made.across[-1].parameters():
            values.normal_()
    image, told = torch.rand(1, 1, 3, 6, 7), torch.zeros(1, 6, 3)
    with torch.no_grad():
        made.fusion[-1].weight.zero_()
        found, turned = made(image, told), made(image.transpose(3, 4), told)
    assert torch.allclose(found, turned.transpose(3, 4), atol=1e-5)


def volume(seed: int = 0) -> Volume:
    values = images.array(cases.ball()) / 100
    values *= 1 + 0.1 * np.random.default_rng(seed).random(values.shape).astype(np.float32)
    return Volume(f"set/{seed}", "T1w", values, values > 0, (1.0, 1.0, 1.0), 0.0, True, str(seed))


LEARNING = cases.params()["learning"] | {"patch": 12, "validation_patch": 16}


@given(st.integers(0, 60))
@settings(max_examples=20, deadline=None)
def test_samples_are_sound_and_repeat(seed: int) -> None:
    drawn = (
        draw.Patches([volume()], LEARNING),
        fixed.Patches([volume()], LEARNING, 3),
        guided.Patches([volume()], LEARNING),
    )
    for kind, count in zip(drawn, (1, 1, 2), strict=True):
        one, again = (kind(np.random.default_rng(seed), 0) for _ in range(2))
        for name in ("image", "target", "condition"):
            assert np.array_equal(one[name], again[name])
            assert one[name].dtype == np.float32 and np.isfinite(one[name]).all()
        assert one["target"].shape == (1, 12, 12, 12)
        assert one["image"].shape[0] == count
        assert one["condition"].shape[1] == one["image"].shape[1]


def test_an_acquisition_of_factor_one_changes_nothing() -> None:
    sharp = volume().values
    how = draw.Acquisition((1.0, 1.0, 1.0), 1.0, "box", (0.0, 0.0, 0.0), 0.0)
    found, first = draw.acquire(sharp, how, np.random.default_rng(0))
    assert np.array_equal(found, sharp) and first == 0.0


def test_contrasts_keep_the_air_dark() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        for share in (0.0, 1.0):
            found = remap(np.array([0.0, 0.3, 1.0], np.float32), share, rng)
            assert found[0] == 0.0 and np.isfinite(found).all() and found[1:].min() > 0


def test_a_volume_and_its_guide_are_cut_and_turned_together() -> None:
    one = volume()
    shape = one.values.shape
    place = np.arange(one.values.size, dtype=np.float32).reshape(shape) / one.values.size + 1.0
    paired = replace(one, values=place, guide=place + 2.0)
    learning = {**LEARNING, "zoom": [1.0, 1.0]}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        box = draw.Patches([paired], learning).drawn(rng, 10, (2, 0, 0))
        assert box.guide is not None and box.guide.shape == box.values.shape == (14, 10, 10)
        assert np.allclose(box.guide - box.values, 2.0, atol=1e-5)
    box, _ = draw.Held([paired], learning).acquisition(0)
    assert box.guide is not None and np.allclose(box.guide - box.values, 2.0, atol=1e-5)
    assert (
        draw.Patches([one], learning).drawn(np.random.default_rng(0), 10, (0, 0, 0)).guide is None
    )


def test_what_is_restored_is_not_the_guide_where_there_are_two_contrasts() -> None:
    one = volume()
    paired = replace(one, guide=0.5 * one.values[::-1].copy())
    for kind in (guided.Patches([paired], LEARNING), guided.Held([paired], LEARNING)):
        sample = kind(np.random.default_rng(1), 0)
        target, guide = sample["target"][0], sample["image"][1]
        assert target.shape == guide.shape
        assert not np.allclose(target, guide, atol=0.05)


def test_lesions_are_what_the_guide_lacks() -> None:
    flat = np.full((16, 16, 16), 0.5, np.float32)
    changed = guided.with_lesions(flat, np.random.default_rng(3)) != flat
    assert 0 < changed.mean() < 0.5


def test_losses_by_hand() -> None:
    made, truth = torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)
    made[0, 0, 1] = 0.2  # a step of 0.2 along z: half of the voxels are off
    entries = [{"name": name} for name in ("l1", "mse", "gradient")]
    found = losses.build(entries)(made, truth)
    assert float(found["l1"]) == pytest.approx(0.1)
    assert float(found["mse"]) == pytest.approx(0.02)
    assert float(found["gradient"]) == pytest.approx(0.2 / 3)
    assert float(found["loss"]) == pytest.approx(0.1 + 0.02 + 0.2 / 3)
    small = losses.Charbonnier(0.1)(torch.tensor([0.01]), torch.tensor([0.0]))
    assert float(small) == pytest.approx(0.01**2 / 0.2, rel=0.01)


@pytest.mark.parametrize(
    "entries",
    [[], [{"name": "nothing"}], [{"name": "l1"}, {"name": "l1"}], [{"name": "l1", "weight": -1}],
     [{"name": "charbonnier", "epsilon": 0}], [{"name": "l1", "window": 3}]],
)  # fmt: skip
def test_losses_that_do_not_fit_are_refused(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        losses.build(entries)


def test_relative_losses_by_hand() -> None:
    # what is missed is 0.1 in one patch and 0.2 in the other; half of it is left in both
    truth = torch.stack([torch.full((1, 2, 2, 2), level) for level in (0.5, 0.9)])
    image = truth + torch.tensor([0.1, -0.2]).reshape(2, 1, 1, 1, 1)
    half = truth + torch.tensor([0.05, -0.1]).reshape(2, 1, 1, 1, 1)
    batch = {"image": image, "target": truth, "condition": torch.zeros(2, 6, 2)}
    networks_ = {"superres": lambda given, told: half}

    def found(relative: bool) -> float:
        recipe = SuperresRecipe(
            torch.nn.Identity(), [{"name": "mse"}], None, 0.0, "", relative=relative
        )
        return float(recipe.losses(networks_, "superres", batch)["loss"])  # type: ignore[arg-type]

    assert found(False) == pytest.approx((0.05**2 + 0.1**2) / 2, rel=1e-4)
    # a quarter of the squares, but for the least difference of 0.01 that counts
    wanted = (0.05**2 / (0.1**2 + 0.01**2) + 0.1**2 / (0.2**2 + 0.01**2)) / 2
    assert found(True) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        SuperresRecipe(torch.nn.Identity(), [{"name": "ssim"}], None, 0.0, "", relative=True)


def test_a_box_beyond_the_volume_repeats_its_edge() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = thick.crop(values, (-1, 0, 1), (2, 3, 4))
    assert found.tolist() == np.pad(values, ((1, 0), (0, 0), (0, 1)), "edge")[:2, :, 1:].tolist()


def test_psnr_by_hand() -> None:
    truth = torch.zeros(1, 1, 2, 2, 2)
    made = truth + 0.1
    assert psnr(made, truth, truth > 1) == pytest.approx(20.0, abs=1e-4)


def thick_volume(step: float = 3.0) -> Volume:
    """The volume with slices of ``step`` mm along its second axis."""
    sharp = volume()
    count = int(sharp.values.shape[1] // step)
    middles = (np.arange(count) + 0.5) * step - 0.5
    matrix = thick.Slices(middles, step).matrix(sharp.values.shape[1])
    values = sampling.apply((None, matrix, None), sharp.values)
    return replace(sharp, values=values, mask=values > 0, spacing=(1.0, step, 1.0))


def test_volumes_teach_with_two_sharp_axes() -> None:
    from pipeline.superres.train import teaches

    rod = replace(volume(), spacing=(5.0, 1.0, 2.0))
    assert teaches(volume()) and teaches(thick_volume()) and not teaches(rod)
    assert thick.sharp_axes(thick_volume()) == (0, 2)


def test_thick_slices_are_brought_onto_pixels_and_back() -> None:
    coarse = thick_volume()
    whole = thick.on_pixels(coarse)
    count = whole.values.shape[1]
    assert count == 3 * coarse.values.shape[1]
    back = sampling.apply((None, whole.slices[1].matrix(count), None), whole.values)
    assert np.abs(back - coarse.values).max() < 0.02 * coarse.values.max()
    assert thick.on_pixels(volume()).slices == {}


@pytest.mark.parametrize("place", [(10, 2, 14), (20, 6, 9), (3, 11, 30)])
def test_a_cut_is_as_of_the_whole(place: tuple[int, int, int]) -> None:
    coarse, sizes = thick_volume(), (8, 10, 6)
    whole = thick.on_pixels(coarse)
    found = thick.cut(coarse, place, sizes)
    there = np.array([place[0], round((place[1] + 0.5) * 3.0 - 0.5), place[2]])
    wanted = whole.crop(there, sizes)
    assert found.values.shape == sizes
    assert np.allclose(found.values, wanted.values, atol=0.01 * wanted.values.max())
    near = np.abs(wanted.slices[1].middles - 5) < 4
    assert np.isin(wanted.slices[1].middles[near], found.slices[1].middles).all()
    # where all is sharp it is cut out as it is
    plain = thick.cut(volume(), (10, 12, 14), sizes)
    assert np.array_equal(plain.values, volume().values[6:14, 7:17, 11:17])


def test_what_thick_slices_see_of_a_row() -> None:
    # two slices of 3 voxels lie wholly in a row of 8, and one at each end does not
    both = thick.Slices(np.array([2.0, 5.0]), 3.0)
    seen = thick.Slices(np.array([-1.0, 2.0, 5.0, 8.0]), 3.0).projection(8)
    row = np.arange(8.0)
    matrix = both.matrix(8)
    assert matrix @ row == pytest.approx([2.0, 5.0], abs=1e-5)
    assert matrix @ (seen @ row) == pytest.approx(matrix @ row, abs=1e-2)
    assert seen @ seen == pytest.approx(seen, abs=1e-3)
    assert not thick.Slices(np.array([1.0]), 9.0).projection(4).any()


@given(st.integers(0, 40))
@settings(max_examples=15, deadline=None)
def test_slices_go_along_with_their_box(seed: int) -> None:
    # a ramp along the thick axis: wherever the box is cut, turned and enlarged, a slice's mean
    # is the ramp at its middle
    coarse = thick_volume()
    ramp = np.arange(coarse.values.shape[1], dtype=np.float32)[None, :, None] + 1.0
    flat = replace(coarse, values=np.ascontiguousarray(np.broadcast_to(ramp, coarse.values.shape)))
    rng = np.random.default_rng(seed)
    box = draw.Patches([flat], {**LEARNING, "zoom": [1.0, 1.4]}).drawn(rng, 12, (2, 1, 0))
    ((axis, slices),) = box.slices.items()
    assert axis > 0
    row = np.moveaxis(box.values, axis, -1)[0, 0]
    inner = (slices.middles > 3) & (slices.middles < len(row) - 4)
    means = np.interp(slices.middles, np.arange(len(row)), row)[inner]
    whole = np.abs(means - np.round(means))
    # next to the ends of the volume the spline and the repeated edge bend the ramp
    away = (means > 2.5) & (means < ramp.max() - 1.5)
    assert whole[away].max(initial=0.0) < 0.06


@pytest.mark.parametrize("kind", ["any", "fixed", "held"])
def test_beyond_what_slices_see_nothing_is_judged(kind: str) -> None:
    coarse = thick_volume()
    samples = {
        "any": draw.Patches([coarse], LEARNING),
        "fixed": fixed.Patches([coarse], LEARNING, 3),
        "held": draw.Held([coarse], LEARNING),
    }[kind]
    sample = samples(np.random.default_rng(3), 0)
    batch = {name: torch.from_numpy(values)[None] for name, values in sample.items()}
    axis = 0 if not np.allclose(sample["seen"][0], np.eye(len(sample["seen"][0]))) else 1
    # a wave that each slice's mean leaves nothing of, along the thick axis
    truth = batch["target"]
    unseen = torch.eye(truth.shape[3 + axis]) - batch["seen"][0, axis]
    wave = unseen @ torch.randn(len(unseen), generator=torch.Generator().manual_seed(0))
    shape = (1, 1, 1, -1, 1) if axis == 0 else (1, 1, 1, 1, -1)
    assert (seen(truth + wave.reshape(shape), batch) - truth).abs().max() < 0.1 * wave.abs().max()
    # and one that they do see, which stays as it is
    shown = (batch["seen"][0, axis] @ torch.ones(len(unseen))).reshape(shape)
    assert shown.max() > 0.8
    found = seen(truth + shown, batch) - truth
    assert torch.allclose(found, shown.expand_as(found), atol=5e-3)
    # the network is told how far apart the slices are
    told = sample["condition"][4 + axis, 0] * condition.LARGEST
    assert told >= 3.0 - 1e-5
