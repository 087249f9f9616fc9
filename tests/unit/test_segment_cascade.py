"""The cascade at inference, with networks whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from torch import Tensor, nn

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade import memory, volume
from pipeline.segment.cascade.bounds import Bounds
from pipeline.segment.cascade.plan import Intensity
from pipeline.segment.cascade.run import Cascade, Found, Options, Scene, _values
from tests.unit.cascade_cases import Fake, Halves, Nearest, brick, level, picture, plan


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch)


def refused(cascade: Cascade, image: sitk.Image) -> VoxelwayError:
    with pytest.raises(VoxelwayError) as caught:
        cascade([image], "made up")
    return caught.value


def array(found: Found) -> np.ndarray:
    return found.labels


def two_levels(fake: Fake, enlargements: int = 2) -> Cascade:
    """Coarse: what is very bright; fine: all that is bright, in the box around it."""
    made = plan(
        level("coarse", [[1]], spacing=(4.0, 4.0, 4.0)),
        level("fine", [[1], [3]], crop=(1,), margin=4.0, context=True),
    )
    networks = {"coarse.0": Nearest([0.3, 0.9]), "fine.0": Nearest([0, 0.9, 0.5], inputs=3)}
    return Cascade(fake(made, networks), Options(enlargements=enlargements))


def test_each_level_works_on_its_own_grid_in_its_box(fake: Fake) -> None:
    values = brick((40, 32, 24), [((12, 12, 8), (24, 20, 16), 0.9)])
    coarse, fine = two_levels(fake)([picture(values)], "made up")
    assert coarse.grid.GetSize() == (20, 16, 12) and coarse.grid.GetSpacing() == (4.0, 4.0, 4.0)
    # the brick spans coarse voxels 6..11, 6..9, 4..7; 4 mm of margin are two fine voxels
    assert fine.grid.GetSize() == (16, 12, 12)
    start = fine.grid.TransformIndexToPhysicalPoint((0, 0, 0))
    assert picture(values).TransformPhysicalPointToIndex(start) == (10, 10, 6)
    assert np.array_equal(array(fine) == 1, values[6:18, 10:22, 10:26] > 0)
    assert fine.facts["Touched"] is False and fine.facts["Enlargements"] == 0


@pytest.mark.parametrize(("most", "whole"), [(0, False), (4, True)])
def test_a_structure_that_is_cut_enlarges_the_box(fake: Fake, most: int, whole: bool) -> None:
    # a long structure of which the coarse level sees the bright middle only
    parts = [((8, 12, 8), (32, 20, 16), 0.5), ((16, 12, 8), (24, 20, 16), 0.9)]
    values = brick((40, 32, 24), parts)
    fine = two_levels(fake, most)([picture(values)], "made up")[-1]
    assert bool(np.count_nonzero(array(fine)) == np.count_nonzero(values)) is whole
    assert fine.facts["Touched"] is not whole
    # 4 mm a time from x = 14..25: 12..27, 10..29, 8..31 with the ends at its faces, 6..33
    assert fine.facts["Enlargements"] == (4 if whole else 0)


def test_what_lies_out_of_bounds_does_not_enlarge_the_box(fake: Fake) -> None:
    """Nor does it count in the volumes that networks are compared by."""
    parts = [((8, 12, 8), (32, 20, 16), 0.5), ((16, 12, 8), (24, 20, 16), 0.9)]
    image = picture(brick((40, 32, 24), parts))
    middle = brick((40, 32, 24), [((16, 8, 4), (24, 24, 20), 1.0)])
    bounds = Bounds.of(images.like(middle.astype(np.uint8), image), 0.0)
    free = two_levels(fake, 4)([image], "made up")[-1]
    bound = two_levels(fake, 4)([image], "made up", bounds)[-1]
    assert (free.facts["Enlargements"], bound.facts["Enlargements"]) == (4, 0)
    assert np.count_nonzero(array(bound)) == 8 * 8 * 8
    assert bound.samples.sum() == pytest.approx(8**3 * 8, rel=1e-3)


def test_fragments_at_the_border_enlarge_nothing(fake: Fake) -> None:
    values = brick(
        (40, 32, 24), [((12, 12, 8), (24, 20, 16), 0.9), ((10, 10, 6), (11, 11, 7), 0.9)]
    )
    fine = two_levels(fake)([picture(values)], "made up")[-1]
    assert array(fine)[0, 0, 0] == 1
    assert fine.facts["Touched"] is False


def test_classes_of_both_sides_are_split_by_the_level_before(fake: Fake) -> None:
    made = plan(
        level("coarse", [[1], [2]], spacing=(4.0, 4.0, 4.0)),
        level("fine", [[3], [1, 2]], crop=(1, 2), margin=4.0, context=True),
    )
    # the coarse level tells the halves of its 16 voxels along x apart: 16 of 32 fine ones
    networks = {"coarse.0": Halves(), "fine.0": Nearest([0, 1.0, 0.7], inputs=3)}
    parts = [((8, 8, 8), (24, 16, 16), 0.7), ((18, 12, 8), (20, 14, 10), 1.0)]
    values = brick((32, 24, 24), parts)
    fine = Cascade(fake(made, networks), Options())([picture(values)], "made up")[-1]
    whole = np.select([values == 0.7, values == 1.0], [1, 3])
    whole[..., 16:][whole[..., 16:] == 1] = 2
    assert np.array_equal(array(fine), whole[6:18, 6:18, 6:26])
    assert fine.side is not None and fine.posterior.shape[0] == 3
    # volumes of both sides apart, in the order of the classes: 3, 1, 2; a voxel has 8 mm3
    assert fine.samples.mean(axis=0) == pytest.approx([8 * 8, 512 * 8, 504 * 8], rel=1e-3)


def test_a_third_level_is_split_by_the_sides_of_the_second(fake: Fake) -> None:
    made = plan(
        level("coarse", [[1], [2]]),
        level("middle", [[1, 2]], crop=(1, 2)),
        level("last", [[1, 2]], crop=(2,), margin=4.0),
    )
    networks = {
        "coarse.0": Nearest([0, 0.5, 0.7]),
        "middle.0": Nearest([0, 0.6]),
        "last.0": Nearest([0, 0.6]),
    }
    parts = [((8, 8, 8), (16, 16, 16), 0.5), ((16, 8, 8), (24, 16, 16), 0.7)]
    values = brick((32, 24, 24), parts)
    last = Cascade(fake(made, networks), Options(enlargements=0))([picture(values)], "made up")[-1]
    # the box is around label 2 alone: x 14..25
    assert last.grid.GetSize()[0] == 12
    assert np.array_equal(array(last)[4, 4], [1, 1, *[2] * 8, 0, 0])


def test_regions_tell_the_sides_apart_and_are_looked_into(fake: Fake) -> None:
    made = plan(
        level("coarse", [[1, 3], [2, 4]], spacing=(4.0, 4.0, 4.0), regions=True),
        # label 4 is not the first of its region
        level("fine", [[1, 2], [3, 4]], crop=(3, 4), margin=4.0, context=True),
    )
    networks = {"coarse.0": Halves(), "fine.0": Nearest([0, 0.7, 1.0], inputs=3)}
    parts = [((8, 8, 8), (24, 16, 16), 0.7), ((12, 12, 8), (20, 14, 10), 1.0)]
    values = brick((32, 24, 24), parts)
    coarse, fine = Cascade(fake(made, networks), Options())([picture(values)], "made up")
    assert set(np.unique(array(coarse))) == {0, 1, 2}
    whole = np.select([values == 0.7, values == 1.0], [1, 3])
    whole[..., 16:] += whole[..., 16:] > 0
    assert np.array_equal(array(fine), whole[6:18, 6:18, 6:26])


def test_a_level_inside_another_finds_nothing_outside(fake: Fake) -> None:
    made = plan(
        level("whole", [[3], [4]]),
        level("core", [[5]], crop=(3, 4), inside=(3,)),
    )
    networks = {"whole.0": Nearest([0, 0.9, 0.4]), "core.0": Nearest([0, 0.9])}
    parts = [((8, 8, 8), (16, 16, 16), 0.9), ((16, 8, 8), (20, 16, 16), 0.6)]
    values = brick((32, 24, 24), parts)
    last = Cascade(fake(made, networks), Options())([picture(values)], "made up")[-1]
    assert np.count_nonzero(array(last)) == 512
    assert last.posterior.sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_members_are_averaged(fake: Fake) -> None:
    made = plan(level("coarse", [[1]], members=2))
    networks = {"coarse.0": Nearest([0, 0.8]), "coarse.1": Nearest([0, 0.4])}
    values = brick((16, 16, 16), [((4, 4, 4), (8, 8, 8), 0.8), ((8, 4, 4), (12, 8, 8), 0.3)])
    only = Cascade(fake(made, networks), Options())([picture(values)], "made up")[0]
    # 0.8 is 1 for both; 0.3 is below the first one's middle and above that of the second
    assert only.posterior[1, 5, 5, 5] == pytest.approx(1.0)
    assert only.posterior[1, 5, 5, 9] == pytest.approx(0.5)
    assert only.samples[:, 0] == pytest.approx([64 * 8, 128 * 8], rel=1e-4)


def test_the_temperature_divides_the_logits(fake: Fake) -> None:
    shares = []
    for temperature in (1.0, 4.0):
        made = plan(level("coarse", [[1]], temperature=temperature))
        networks = {"coarse.0": Nearest([0, 0.8], sharp=10.0)}
        values = brick((16, 16, 16), [((4, 4, 4), (8, 8, 8), 0.8)])
        only = Cascade(fake(made, networks), Options())([picture(values)], "made up")[0]
        shares.append(float(only.posterior[1, 5, 5, 5]))
    # logit 10 * 0.8^2 / 2 = 3.2
    assert shares == pytest.approx([1 / (1 + np.exp(-3.2)), 1 / (1 + np.exp(-0.8))], rel=1e-4)


# mirrored images


def sides(fake: Fake, network: nn.Module, mirror: bool) -> Found:
    made = plan(level("coarse", [[1], [2]]))
    cascade = Cascade(fake(made, {"coarse.0": network}), Options(mirror=mirror))
    values = brick((20, 12, 12), [((4, 2, 2), (10, 10, 10), 0.8), ((10, 2, 2), (13, 10, 10), 0.8)])
    return cascade([picture(values)], "made up")[0]


def test_mirrored_images_exchange_the_sides(fake: Fake) -> None:
    plain, both = sides(fake, Halves(), mirror=False), sides(fake, Halves(), mirror=True)
    assert both.facts["Samples"] == 2
    assert np.allclose(both.posterior, plain.posterior, atol=1e-6)
    assert both.samples[0] == pytest.approx(both.samples[1])
    assert np.count_nonzero(array(both) == 1) == 6 * 64
    assert np.count_nonzero(array(both) == 2) == 3 * 64


def test_a_network_that_takes_no_side_is_told_apart_by_the_mirror(fake: Fake) -> None:
    # by intensity alone, the mirrored image gives label 1 where the plain one does: half each
    found = sides(fake, Nearest([0, 0.8, 0.3]), mirror=True)
    assert found.posterior[:, 5, 5, 5] == pytest.approx([0, 0.5, 0.5], abs=1e-4)


def test_the_context_is_mirrored_too(fake: Fake) -> None:
    made = plan(level("coarse", [[1], [2]]), level("fine", [[1], [2]], crop=(1, 2), context=True))
    copier = Nearest([0, 0, 0], inputs=3)
    with_context = copier.layer.weight.data
    with_context[1, 1], with_context[2, 2] = 30.0, 30.0
    copier.layer.bias.data[:] = 0
    copier.layer.bias.data[0] = 15.0
    cascade = Cascade(fake(made, {"coarse.0": Halves(), "fine.0": copier}), Options(mirror=True))
    values = brick((20, 12, 12), [((4, 2, 2), (13, 10, 10), 0.8)])
    coarse, fine = cascade([picture(values)], "made up")
    assert np.array_equal(array(fine)[4, 5, :], array(coarse)[4, 5, :][: array(fine).shape[2]])
    assert fine.posterior.max(axis=0).min() > 0.99


# dropout


def test_dropout_draws_the_same_for_the_same_seed(fake: Fake) -> None:
    class Dropping(Nearest):
        def __init__(self) -> None:
            super().__init__([0, 0.8], sharp=10.0)
            self.drop = nn.Dropout3d(0.5)

        def forward(self, image: Tensor) -> list[Tensor]:
            return super().forward(self.drop(image))

    made = plan(level("coarse", [[1]]))
    values = picture(brick((16, 16, 16), [((4, 4, 4), (8, 8, 8), 0.8)]))
    cascade = Cascade(fake(made, {"coarse.0": Dropping()}), Options(draws=8, seed=3))
    first, again = cascade([values], "a")[0], cascade([values], "b")[0]
    assert np.array_equal(first.posterior, again.posterior)
    assert first.facts["Samples"] == 8 and np.ptp(first.samples[:, 0]) > 100
    other = Cascade(fake(made, {"coarse.0": Dropping()}), Options(draws=8, seed=1))([values], "a")
    assert not np.array_equal(first.samples, other[0].samples)


def test_dropout_without_a_layer_for_it_is_refused(fake: Fake) -> None:
    made = plan(level("coarse", [[1]]))
    with pytest.raises(VoxelwayError, match="E-CONFIG-VALUE"):
        Cascade(fake(made, {"coarse.0": Nearest([0, 1])}), Options(draws=4))


# what can't be labelled


def test_an_image_without_the_structure_is_refused_with_a_hint(fake: Fake) -> None:
    error = refused(two_levels(fake), picture(brick((24, 24, 24), [((0, 0, 0), (9, 9, 9), 0.2)])))
    assert error.code == "E-MASK-EMPTY" and "model" in error.hint


def test_far_less_than_in_training_is_no_head(fake: Fake) -> None:
    facts = {"volume_ml": {"part-1": {"low": 40.0, "high": 60.0}}}
    made = plan(level("coarse", [[1]]), facts=facts)
    cascade = Cascade(fake(made, {"coarse.0": Nearest([0, 0.9])}), Options())
    # 8^3 voxels of 8 mm3 are 4 ml, less than a quarter of 40 ml
    error = refused(cascade, picture(brick((24, 24, 24), [((8, 8, 8), (16, 16, 16), 0.9)])))
    assert error.code == "E-MASK-EMPTY" and "4.1 ml" in error.what and "40.0 ml" in error.what
    # at the border of a small field of view it may be a part of a larger whole
    assert cascade([picture(brick((24, 24, 24), [((0, 8, 8), (8, 16, 16), 0.9)]))], "cut")


def test_nothing_to_look_into_is_refused(fake: Fake) -> None:
    made = plan(level("coarse", [[1], [3]]), level("fine", [[1]], crop=(1,)))
    networks = {"coarse.0": Nearest([0, 0.9, 0.5]), "fine.0": Nearest([0, 0.9])}
    cascade = Cascade(fake(made, networks), Options())
    error = refused(cascade, picture(brick((24, 24, 24), [((8, 8, 8), (16, 16, 16), 0.5)])))
    assert error.code == "E-MASK-EMPTY" and "fine" in error.what


def test_a_tiny_field_of_view_is_refused(fake: Fake) -> None:
    # 12 slices of 1 mm are 3 voxels of the first level
    image = picture(brick((40, 40, 12), [((8, 8, 2), (30, 30, 9), 0.9)]), spacing=(1, 1, 1))
    error = refused(two_levels(fake), image)
    assert error.code == "E-IMG-SLICES" and "40 x 40 x 12 mm" in error.what


def test_a_constant_image_is_refused(fake: Fake) -> None:
    made = replace(plan(level("coarse", [[1]])), intensity=Intensity())
    cascade = Cascade(fake(made, {"coarse.0": Nearest([0, 0.9])}), Options())
    assert refused(cascade, picture(np.full((16, 16, 16), 7.0))).code == "E-SIGNAL"


def test_another_number_of_channels_is_refused(fake: Fake) -> None:
    cascade = two_levels(fake)
    image = picture(np.zeros((16, 16, 16)))
    with pytest.raises(VoxelwayError, match="E-MODEL-INPUT"):
        cascade([image, image], "made up")


def test_a_huge_field_of_view_is_cut_into_windows(fake: Fake) -> None:
    values = brick((64, 48, 48), [((20, 20, 20), (30, 28, 28), 0.9)])
    coarse, fine = two_levels(fake)([picture(values, spacing=(6, 6, 6))], "made up")
    assert coarse.facts["Windows"] > 1
    assert images.same_grid(coarse.grid, images.spaced_grid(picture(values, (6, 6, 6)), (4, 4, 4)))
    # between voxels of 6 mm the class of 0.5 begins at 0.25: 0.22 voxels beyond the faces
    edge = 2 * (0.5 - 0.25 / 0.9)
    volume = (10 + edge) * (8 + edge) ** 2 * 216
    assert np.count_nonzero(array(fine)) * 8 == pytest.approx(volume, rel=0.04)


def test_more_memory_than_there_is_is_refused_before(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    cascade = two_levels(fake)
    monkeypatch.setattr(memory, "free", lambda device: 1000)
    error = refused(cascade, picture(brick((24, 24, 24), [((8, 8, 8), (16, 16, 16), 0.9)])))
    assert error.code == "E-MEMORY" and "coarse" in error.what


def test_a_bundle_without_its_networks_or_plan_is_refused(fake: Fake) -> None:
    made = plan(level("coarse", [[1]], members=2))
    with pytest.raises(VoxelwayError, match=r"E-MODEL-INPUT.*coarse\.1"):
        Cascade(fake(made, {"coarse.0": Nearest([0, 0.9])}), Options())
    path = fake(made, {}, inputs={"contrasts": ["T1w"]})
    with pytest.raises(VoxelwayError, match="no plan"):
        Cascade(path, Options())


def test_what_lies_far_from_a_box_does_not_matter_to_it() -> None:
    draw = np.random.default_rng(0).random((40, 48, 64))
    image = picture(draw, spacing=(1.0, 1.0, 1.0))
    whole = images.spaced_grid(image, (2.0, 2.0, 2.0))
    box = sitk.RegionOfInterest(whole, (10, 8, 6), (12, 9, 8))
    (near,) = _values(Scene((image,), "made up"), box)
    assert np.allclose(near, images.array(volume.onto(image, box)), atol=1e-3)
