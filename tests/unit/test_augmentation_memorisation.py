"""The guard against copies: a generator that returns training images is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.errors import VoxelwayError
from pipeline.segment.learning.scene import Variety
from pipeline.synthesize import train
from pipeline.synthesize.augmentation import from_labels, memorisation, samples
from pipeline.synthesize.augmentation.kinds import Made
from pipeline.synthesize.augmentation.memorisation import check, distance
from tests.unit.test_augmentation import folder_of, params

LIMITS = {"nearer": 0.5, "copies": 0.05}


def head(seed: int, edge: int = 24) -> Any:
    """A smooth random image (1, Z, Y, X)."""
    noise = np.random.default_rng(seed).normal(size=(edge, edge, edge))
    return ndimage.gaussian_filter(noise, 2.0).astype(np.float32)[None] * 10


@settings(max_examples=10, deadline=None)
@given(
    shift=st.tuples(*[st.integers(-2, 2)] * 3),
    gain=st.floats(0.5, 3.0),
    offset=st.floats(-5.0, 5.0),
)
def test_shifts_gains_and_offsets_are_no_distance(
    shift: tuple[int, int, int], gain: float, offset: float
) -> None:
    image = head(0, 36)
    moved = gain * np.roll(image, shift, (1, 2, 3)) + offset
    # away from the border, where a shift brings in the other side
    inner = np.s_[:, 6:-6, 6:-6, 6:-6]
    assert distance(moved[inner].astype(np.float32), image[inner]) < 0.45
    assert distance(image[inner], image[inner]) < 0.01


def test_another_image_is_far_and_a_flat_one_farthest() -> None:
    assert distance(head(0), head(1)) > 0.6
    assert distance(np.ones((1, 24, 24, 24), np.float32), head(1)) == 2.0


def test_a_distance_by_hand() -> None:
    """Patches that are each other's negative are 2 apart, orthogonal ones the root of 2."""
    edge = 4
    template = np.zeros((1, edge, edge, edge), np.float32)
    template[..., :2] = 1.0
    other = np.zeros_like(template)
    other[..., :2, :] = 1.0
    one, two = (memorisation.torch.from_numpy(v) for v in (template, other))
    found = memorisation._distances(one, 1.0 - one, edge)
    assert float(found) == pytest.approx(2.0)
    assert float(memorisation._distances(one, two, edge)) == pytest.approx(2**0.5)


def test_copies_are_refused_and_others_are_not() -> None:
    training, real = [head(n) for n in range(3)], [head(n) for n in (10, 11)]
    rng = np.random.default_rng(0)
    copies = [one + rng.normal(0, 0.01, one.shape).astype(np.float32) for one in training]
    with pytest.raises(VoxelwayError) as refused:
        check(copies, real, training, LIMITS)
    assert refused.value.code == "E-MODEL-MEMORISED" and "100 %" in refused.value.what
    found = check([head(n) for n in (20, 21)], real, training, LIMITS)
    assert found.copied == 0.0
    assert np.mean(found.made) == pytest.approx(np.mean(found.real), rel=0.2)


def test_one_copy_among_many_is_enough() -> None:
    training, real = [head(n) for n in range(2)], [head(10)]
    made = [head(20 + n) for n in range(4)] + [training[0]]
    with pytest.raises(VoxelwayError, match="20 % of 5"):
        check(made, real, training, LIMITS)


def test_a_training_that_memorised_writes_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "data")

    def thief(networks: Any, sources: Any, rng: Any) -> Made:
        still = Variety.none()
        case = sources.cases[int(rng.integers(len(sources.cases)))]
        image, classes, grid = samples.seen(case, 2.0, sources.known, still, rng)
        return Made(image, classes, grid, 1.0)

    monkeypatch.setattr(from_labels, "make", thief)
    with pytest.raises(VoxelwayError, match="E-MODEL-MEMORISED"):
        train.train(params(folder, "spade"), tmp_path / "bundle", None)
    assert not (tmp_path / "bundle").exists()
