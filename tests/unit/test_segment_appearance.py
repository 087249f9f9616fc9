"""Borders drawn again by what the structures look like in the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.bundles import read_bundle
from pipeline.errors import VoxelwayError
from pipeline.segment import train
from pipeline.segment.cascade import appearance, borders, memory, uncertainty
from pipeline.segment.cascade import plan as plans
from pipeline.segment.cascade.boxed import Boxed
from pipeline.segment.cascade.plan import Appearance, CascadePlan
from pipeline.segment.cascade.run import Cascade, Found, Options
from tests.unit.cascade_cases import Fake, Halves, Nearest, brick, level, picture, plan
from tests.unit.segment_cases import section, write_cases

ISOTROPIC = (1.0, 1.0, 1.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def nested(edge: int = 32) -> np.ndarray:
    """A ball (2) in a ball (1) in nothing (0)."""
    z, y, x = np.indices((edge, edge, edge)) - (edge - 1) / 2
    radius = np.sqrt(z**2 + y**2 + x**2)
    return np.select([radius < 0.25 * edge, radius < 0.4 * edge], [2, 1])


def blurred(truth: np.ndarray, shift: int = 0, width: float = 2.0) -> Boxed:
    """What a network might say: everything a little off and not sharp."""
    moved = np.roll(truth, shift, axis=2)
    shares = [ndimage.gaussian_filter((moved == k).astype(np.float32), width) for k in range(3)]
    return Boxed.of(torch.from_numpy(np.stack(shares)), 0.01)


def again(given: Boxed) -> Boxed:
    """A copy: what is refined is overwritten."""
    return given.like([one.clone() for one in given.values])


def drawn(truth: np.ndarray, levels: tuple[float, ...], noise: float = 0.02) -> np.ndarray:
    values = np.asarray(levels)[truth] + np.random.default_rng(0).normal(0, noise, truth.shape)
    return values.astype(np.float32)


def labelled(prior: Boxed, image: np.ndarray, biased: bool = False, **over: Any) -> np.ndarray:
    given = {"spacing": ISOTROPIC, "tissues": ["", ""], **over}
    found, _ = appearance.refined(
        again(prior), torch.from_numpy(image)[None], given["spacing"], given["tissues"], biased
    )
    return found.dense().argmax(dim=0).numpy()


def soft(found: Found) -> np.ndarray:
    """Expected volumes of the labels, mm3."""
    sums = uncertainty.sums(found.posterior, found.level.classes, found.side)
    return sums * float(np.prod(found.grid.GetSpacing()))


def wrong(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found != truth).mean())


@pytest.mark.parametrize("levels", [(0.0, 0.4, 0.9), (0.1, 0.9, 0.4), (0.8, 0.2, 0.5)])
def test_borders_are_where_the_image_shows_them_in_any_contrast(levels: tuple[float, ...]) -> None:
    truth = nested()
    prior = blurred(truth, shift=1)
    before = wrong(prior.dense().argmax(dim=0).numpy(), truth)
    after = wrong(labelled(prior, drawn(truth, levels)), truth)
    assert before > 0.02 and after < 0.001


def test_an_image_that_shows_nothing_leaves_the_borders() -> None:
    truth = nested()
    prior = blurred(truth)
    flat = drawn(truth, (0.5, 0.5, 0.5))
    assert wrong(labelled(prior, flat), prior.dense().argmax(dim=0).numpy()) < 0.01


def test_a_bias_field_is_told_from_what_structures_look_like() -> None:
    truth = nested()
    field = 1.0 + 0.4 * np.linspace(-1, 1, truth.shape[2])
    image = (drawn(truth, (0.05, 0.5, 0.8)) * field).astype(np.float32)
    prior = blurred(truth, width=2.5)
    without, found = (wrong(labelled(prior, image, biased), truth) for biased in (False, True))
    assert found < 0.01 and found < 0.5 * without
    _, look = appearance.refined(prior, torch.from_numpy(image)[None], ISOTROPIC, ["", ""], True)
    # how bright all of it is can't be told from the field: what is told is the ratio
    assert float(look.mean[0, 1] / look.mean[0, 0]) == pytest.approx(0.8 / 0.5, rel=0.03)


def test_two_channels_tell_more_than_one() -> None:
    truth = nested()
    one = drawn(truth, (0.0, 0.5, 0.5), noise=0.05)
    two = drawn(truth, (0.5, 0.5, 0.9), noise=0.05)
    prior = blurred(truth, shift=1)
    pair = torch.from_numpy(np.stack([one, two]))
    found, look = appearance.refined(again(prior), pair, ISOTROPIC, ["", ""], False)
    assert look.mean.shape == (2, 2)
    both = wrong(found.dense().argmax(dim=0).numpy(), truth)
    alone = min(wrong(labelled(prior, image), truth) for image in (one, two))
    assert both < 0.005 and both < 0.5 * alone


def test_neighbours_count_by_their_distance() -> None:
    share = torch.zeros(3, 3, 3)
    share[1, 1, 1] = 1.0
    found = appearance._neighbours(share, (2.0, 1.0, 1.0))
    assert float(found[1, 1, 0]) == pytest.approx(appearance.NEIGHBOUR)
    assert float(found[0, 1, 1]) == pytest.approx(appearance.NEIGHBOUR / 2)
    assert float(found[1, 1, 1]) == 0.0 and float(found[0, 0, 1]) == 0.0
    # a voxel amid its like has two neighbours along each axis
    full = appearance._neighbours(torch.ones(3, 3, 3), (2.0, 1.0, 1.0))
    assert float(full[1, 1, 1]) == pytest.approx(appearance.NEIGHBOUR * (1 + 2 + 2))


def test_the_first_look_is_of_the_sure_voxels() -> None:
    # nine voxels surely of the class at 0.2 to 0.4, a hundred that hardly are at 0.9
    values = torch.cat([torch.linspace(0.2, 0.4, 9), torch.full((100,), 0.9), torch.tensor([1.0])])
    weights = torch.cat([torch.full((9,), 0.9), torch.full((101,), 0.3)])
    mean, variance = appearance._medians(values[None], weights**appearance.SURE)
    assert float(mean[0]) == pytest.approx(0.3, abs=0.002)
    # the median distance from 0.3 of 0.2, 0.225, … 0.4 is 0.05
    assert float(variance[0]) == pytest.approx((1.4826 * 0.05) ** 2, rel=0.1)


def test_a_bias_field_is_the_sum_of_its_terms() -> None:
    field = torch.zeros(1, 4, 4, 4)
    field[0, 0, 0, 0], field[0, 1, 0, 2], field[0, 0, 1, 0] = 1.0, 0.2, -0.1
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (3, 4, 5)), indexing="ij")
    wanted = 1.0 + 0.2 * z * x**2 - 0.1 * y
    assert appearance._bias((3, 4, 5), field)[0].numpy() == pytest.approx(wanted.numpy(), abs=1e-6)
    powers, terms = appearance._powers((3, 4, 5), 1)
    kept = field[0, *powers.T] @ terms
    assert kept.numpy() == pytest.approx(wanted.flatten().numpy(), abs=1e-6)


def test_few_voxels_are_judged_by_what_looks_alike() -> None:
    shares = torch.zeros(4, 1, 1, 1200)
    shares[1, ..., :1000], shares[2, ..., 1000:1100], shares[3, ..., 1100:] = 1.0, 1.0, 1.0
    image = torch.zeros(1, 1, 1, 1200)
    image[..., :1000], image[..., 1000:1100], image[..., 1100:] = 0.5, 0.8, 0.2
    alike = appearance._alike(["grey", "grey", ""])
    look = appearance._looks(image, Boxed.of(shares, 0.0), None, alike, voxel=1.0, held=300.0)
    mean = look.mean[0].tolist()
    # (1000 · 0.5 + 100 · 0.8) / 1100 = 0.5273; (100 · 0.8 + 300 · 0.5273) / 400 = 0.5955
    assert mean[1] == pytest.approx(0.5955, abs=0.002)
    assert mean[0] == pytest.approx((1000 * 0.5 + 300 * 0.5273) / 1300, abs=0.002)
    assert mean[2] == pytest.approx(0.2, abs=0.002), "it stands alone"


def test_a_lattice_stands_for_all_voxels() -> None:
    truth = nested(48)
    image = torch.from_numpy(drawn(truth, (0.0, 0.4, 0.8)))[None]
    looks = [
        appearance.refined(blurred(truth), image, spacing, ["", ""], False)[1]
        # every second voxel along each axis, or all of them
        for spacing in ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    ]
    assert looks[0].mean[0].numpy() == pytest.approx(looks[1].mean[0].numpy(), abs=0.01)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_shares_are_shares_whatever_is_given(seed: int, biased: bool, constant: bool) -> None:
    rng = np.random.default_rng(seed)
    prior = torch.from_numpy(rng.random((4, 5, 9, 7)).astype(np.float32))
    prior[2] = 0.0  # a class that is nowhere
    image = torch.from_numpy(rng.random((1, 5, 9, 7)).astype(np.float32))
    if constant:
        image[:] = 0.5
    given = Boxed.of(prior, 0.3)
    boxed, look = appearance.refined(given, image, (3.0, 1.0, 1.0), ["a", "a", ""], biased)
    found = boxed.dense()
    assert torch.isfinite(found).all() and bool((found >= 0).all())
    assert found.sum(dim=0).numpy() == pytest.approx(np.ones((5, 9, 7)), abs=1e-4)
    assert torch.isfinite(look.mean).all() and bool((look.variance > 0).all())


def cascade(fake: Fake, made: CascadePlan, **options: Any) -> Cascade:
    networks = {"coarse.0": Nearest([0.0, 0.9]), "fine.0": Nearest([0.0, 0.9, 0.45], inputs=3)}
    return Cascade(fake(made, networks), Options(**options))


def two_levels(**over: Any) -> CascadePlan:
    return plan(
        level("coarse", [[1]], spacing=(4.0, 4.0, 4.0)),
        level("fine", [[1], [3]], crop=(1,), margin=8.0, context=True),
        appearance=Appearance(),
        **over,
    )


def scene(fine: float = 1.0) -> np.ndarray:
    """A bright brick beside a grey one, 40 x 40 x 40 mm around them, at this spacing."""
    size = round(48 / fine)
    edge = [round(mm / fine) for mm in (13, 24, 35)]
    low, middle, high = edge
    parts = [((low, low, low), (middle, high, high), 0.9),
             ((middle, low, low), (high, high, high), 0.5)]  # fmt: skip
    noise = np.random.default_rng(1).normal(0, 0.01, (size, size, size))
    return np.asarray(brick((size, size, size), parts) + 0.05 + noise)


def test_the_result_is_on_the_voxels_of_the_image(fake: Fake) -> None:
    values = scene()
    image = picture(values, spacing=ISOTROPIC)
    rough = cascade(fake, two_levels(), appearance=False)([image], "made up")[-1]
    sharp = cascade(fake, two_levels())([image], "made up")[-1]
    assert rough.grid.GetSpacing() == (2.0, 2.0, 2.0) and "Appearance" not in rough.facts
    assert sharp.grid.GetSpacing() == ISOTROPIC
    corner = image.TransformPhysicalPointToContinuousIndex(sharp.grid.GetOrigin())
    assert corner == pytest.approx(np.round(corner), abs=1e-6)
    x, y, z = (int(v) for v in np.round(corner))
    depth, height, width = sharp.labels.shape
    part = values[z : z + depth, y : y + height, x : x + width]
    truth = np.select([part > 0.7, part > 0.25], [1, 3])
    assert wrong(sharp.labels, truth) < 0.001
    told = sharp.facts["Appearance"]
    assert told["Means"] == [
        {"1": pytest.approx(0.95, abs=0.03), "3": pytest.approx(0.55, abs=0.03)}
    ]
    # 11 x 22 x 22 mm each, and a posterior that says so
    assert soft(sharp) == pytest.approx([11 * 22 * 22] * 2, rel=0.02)


def test_the_units_of_the_image_do_not_matter(fake: Fake) -> None:
    values = scene()
    own, other, shifted = (
        cascade(fake, two_levels(intensity=plans.Intensity("window", *ends)))(
            [picture(one, spacing=ISOTROPIC)], "made up"
        )[-1]
        for one, ends in (
            (values, (0.0, 1.0)),
            (1000.0 * values, (0.0, 1000.0)),
            (700.0 * values - 500.0, (-500.0, 200.0)),
        )
    )
    assert own.facts["Appearance"]["BiasField"] and other.facts["Appearance"]["BiasField"]
    assert np.array_equal(own.labels, other.labels)
    means, thousand = (one.facts["Appearance"]["Means"][0]["1"] for one in (own, other))
    assert thousand == pytest.approx(1000 * means, rel=1e-3)
    # without a zero of its own no factor is looked for
    assert not shifted.facts["Appearance"]["BiasField"]
    assert wrong(shifted.labels, own.labels) < 0.001


def test_very_fine_voxels_are_averaged(fake: Fake) -> None:
    image = picture(scene(0.5), spacing=(0.5, 0.5, 0.5))
    found = cascade(fake, two_levels())([image], "made up")[-1]
    assert found.grid.GetSpacing() == (0.8, 0.8, 0.8)
    # voxels that are partly of the background may go to it, which looks like anything
    assert soft(found) == pytest.approx([11 * 22 * 22] * 2, rel=0.2)


def test_thick_slices_stay_thick(fake: Fake) -> None:
    image = picture(scene()[2::5], spacing=(1.0, 1.0, 5.0))
    found = cascade(fake, two_levels())([image], "made up")[-1]
    assert found.grid.GetSpacing() == (1.0, 1.0, 5.0)


def test_the_sides_go_along(fake: Fake) -> None:
    made = plan(
        level("coarse", [[1], [2]], spacing=(4.0, 4.0, 4.0)),
        level("fine", [[1, 2]], crop=(1, 2), margin=8.0, context=True),
        appearance=Appearance(),
    )
    networks = {"coarse.0": Halves(), "fine.0": Nearest([0.0, 0.9], inputs=2)}
    # both sides look alike, and the middle of the field of view is between them
    image = picture(np.where(scene() > 0.25, 0.9, 0.05), spacing=ISOTROPIC)
    found = Cascade(fake(made, networks), Options())([image], "made up")[-1]
    assert set(np.unique(found.labels)) == {0, 1, 2}
    assert soft(found) == pytest.approx([11 * 22 * 22] * 2, rel=0.1)


def test_memory_is_asked_for_before_it_is_used(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cascade(fake, two_levels())
    real = memory.ask

    def small(needed: float, device: torch.device, what: str, where: str) -> None:
        monkeypatch.setattr(memory, "free", lambda device: 0 if "borders" in what else 2**40)
        real(needed, device, what, where)

    monkeypatch.setattr(memory, "ask", small)
    with pytest.raises(VoxelwayError) as caught:
        made([picture(scene(), spacing=ISOTROPIC)], "made up")
    assert caught.value.code == "E-MEMORY" and "borders" in str(caught.value)


def test_the_spread_of_networks_stays_in_the_interval(fake: Fake) -> None:
    made = replace(two_levels(), levels=(two_levels().levels[0],
                                         replace(two_levels().levels[1], members=2)))  # fmt: skip
    networks = {
        "coarse.0": Nearest([0.0, 0.9]),
        "fine.0": Nearest([0.0, 0.9, 0.45], inputs=3),
        "fine.1": Nearest([0.0, 0.9, 0.2], inputs=3),
    }
    image = picture(scene(), spacing=ISOTROPIC)
    bundle = fake(made, networks)
    rough: Found = Cascade(bundle, Options(appearance=False))([image], "made up")[-1]
    sharp: Found = Cascade(bundle, Options())([image], "made up")[-1]
    assert sharp.samples.std(axis=0) == pytest.approx(rough.samples.std(axis=0))


def test_a_plan_remembers_what_looks_alike(tmp_path: Path) -> None:
    made = replace(two_levels(), appearance=Appearance(((1, 3),)))
    made.write(tmp_path / "plan.json")
    assert plans.read(tmp_path / "plan.json") == made
    assert borders.groups(made.levels[-1], Appearance(((3,),))) == ["", "0"]


@pytest.mark.parametrize("groups", [((1, 9),), ((1,), (1, 3))])
def test_groups_of_other_labels_are_refused(groups: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="look alike"):
        replace(two_levels(), appearance=Appearance(groups))


def test_a_level_inside_of_another_is_refused() -> None:
    inner = level("fine", [[1], [3]], crop=(1,), inside=(1,))
    with pytest.raises(ValueError, match="inside"):
        plan(level("coarse", [[1]]), inner, appearance=Appearance())


def test_validation_cases_are_drawn_again_too() -> None:
    truth = nested()
    share, image = blurred(truth, shift=1).dense().numpy(), drawn(truth, (0.05, 0.5, 0.8))
    small = level("fine", [[1], [3]], spacing=ISOTROPIC)
    found = borders.on_level(share, ((image - 0.5) / 0.3)[None], small, Appearance())
    assert wrong(found.argmax(axis=0), truth) < 0.002 < wrong(share.argmax(axis=0), truth)


def test_training_writes_it_into_the_plan(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    asked = {"use": True, "alike": [[1, 2]]}
    assert train.train(section(tmp_path, True, appearance=asked), tmp_path / "out", None) == 0
    metadata = read_bundle(tmp_path / "out", "segment").metadata
    assert plans.of(metadata["inputs"]["plan"], "").appearance == Appearance(((1, 2),))
    assert metadata["calibration"]["interval_factor"] > 0


def test_training_refuses_labels_that_are_not_learned(tmp_path: Path) -> None:
    write_cases(tmp_path, 3, with_images=True)
    asked = {"use": True, "alike": [[1, 7]]}
    with pytest.raises(VoxelwayError) as caught:
        train.train(section(tmp_path, True, appearance=asked), tmp_path / "out", None)
    assert caught.value.code == "E-CONFIG-VALUE" and "look alike" in str(caught.value)


def test_an_image_turned_comes_back_turned(fake: Fake) -> None:
    image = picture(scene(), spacing=ISOTROPIC)
    flipped = sitk.DICOMOrient(image, "RAS")
    found = [cascade(fake, two_levels())([one], "made up")[-1] for one in (image, flipped)]
    assert np.array_equal(found[0].labels, found[1].labels)
