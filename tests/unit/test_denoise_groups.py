"""Like blocks filtered together: against answers by hand, and what must not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import threads
from pipeline.denoise import dct, groups, slabs, unit_noise
from pipeline.denoise.groups import Blocks
from pipeline.denoise.methods import collaborative, nlm
from pipeline.denoise.noise import Noise

ALONE = Blocks(side=4, step=1, members=1, radius=0)
GROUPED = Blocks(side=4, step=3, members=8, radius=3)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.0, shape).astype(np.float32)


def textured(side: int) -> np.ndarray:
    """A texture that comes back every three voxels along two axes and every two along one."""
    z, y, x = np.mgrid[:side, :side, :side]
    table = drawn(3, 3, 2, seed=5) * 4.0
    return np.asarray(20.0 + table[z % 3, y % 3, x % 2], dtype=np.float32)


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_the_haar_transform_is_orthonormal(count: int) -> None:
    matrix = groups.haar(count)
    assert np.allclose(matrix @ matrix.T, np.eye(count), atol=1e-6)
    # the first row is the mean, up to its length
    assert np.allclose(matrix[0], count**-0.5)


def test_groups_of_one_are_a_sliding_wiener_filter() -> None:
    guide = 20.0 + 3.0 * drawn(17, 19, 16, seed=1)
    noisy = guide + drawn(17, 19, 16)
    found = groups.wiener(noisy, guide, ALONE, (1.0, 0.5))
    inner = (slice(4, -4),) * 3  # at the edge they mirror the image differently
    for sigma, one in zip((1.0, 0.5), found, strict=True):
        assert np.allclose(one[inner], dct.wiener(noisy, guide, sigma)[inner], atol=1e-4)


def test_what_comes_back_is_averaged() -> None:
    truth = textured(24)
    noisy = truth + drawn(24, 24, 24)

    def left(members: int) -> float:
        blocks = Blocks(side=4, step=3, members=members, radius=3)
        return float(np.std(groups.wiener(noisy, truth, blocks, (1.0,))[0] - truth))

    # the guide is the truth, in which like blocks are equal: noise of the mean of 8 blocks
    assert left(8) < 0.5 * left(1)


def test_only_like_blocks_are_grouped() -> None:
    truth = np.zeros((24, 24, 24), dtype=np.float32) + 10.0
    truth[:, :, 12:] = 40.0
    noisy = truth + drawn(24, 24, 24)
    found = groups.wiener(noisy, truth, GROUPED, (1.0,))[0]
    # an edge of 30 times the noise stays where it is
    assert np.abs(found - truth).max() < 2.0 and np.std(found - truth) < 0.3


@given(level=st.floats(-50.0, 50.0), side=st.integers(2, 13))
@settings(deadline=None)
def test_what_is_even_stays(level: float, side: int) -> None:
    image = np.full((side, 3, 7), level, dtype=np.float32)
    found = groups.wiener(image, image, GROUPED, (1.0,))[0]
    assert np.allclose(found, image, atol=1e-4 * max(1.0, abs(level)))


def test_threads_and_portions_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = textured(30) + drawn(30, 30, 30)
    guide = textured(30)
    monkeypatch.setenv(threads.VARIABLE, "1")
    alone = groups.wiener(noisy, guide, GROUPED, (1.0,))[0]
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert np.array_equal(groups.wiener(noisy, guide, GROUPED, (1.0,))[0], alone)
    monkeypatch.setattr(groups, "COMPARED", 1)
    monkeypatch.setattr(groups, "FILTERED", 7)
    assert np.allclose(groups.wiener(noisy, guide, GROUPED, (1.0,))[0], alone, atol=1e-4)


def test_empty_blocks_are_left_out_and_stay_empty() -> None:
    noisy = np.zeros((40, 16, 16), dtype=np.float32)
    noisy[:12] = 20.0 + drawn(12, 16, 16)
    found = groups.wiener(noisy, noisy, GROUPED, (1.0,))[0]
    assert (found[24:] == 0).all() and np.isfinite(found).all()
    assert np.abs(found[:10] - 20.0).max() < np.abs(noisy[:10] - 20.0).max()


def test_weights_keep_what_all_parts_agree_on() -> None:
    assert len(collaborative.WEIGHTS) == collaborative.PARTS
    assert sum(collaborative.WEIGHTS) == pytest.approx(1.0)
    even = np.full((12, 12, 12), 500.0, dtype=np.float32)
    found = collaborative.estimates(even, Noise(10.0, 1.0, "gaussian", None))
    assert found.shape == (1 + collaborative.PARTS, 12, 12, 12)
    assert np.allclose(found, 500.0, rtol=1e-4)


def test_the_result_is_the_first_of_the_estimates() -> None:
    noise = Noise(1.0, 5.0, "gaussian", None)
    noisy = textured(20) + drawn(20, 20, 20)
    found = collaborative.estimates(noisy, noise)
    assert np.array_equal(collaborative.denoise(noisy, noise), found[0])
    expected = sum(w * part for w, part in zip(collaborative.WEIGHTS, found[1:], strict=True))
    assert np.allclose(found[0], expected, atol=1e-3)


def test_more_is_left_where_less_noise_is_assumed() -> None:
    noisy = textured(24) + drawn(24, 24, 24)
    less, more = groups.wiener(noisy, textured(24), GROUPED, (0.5, 2.0))
    assert np.std(noisy - less) < np.std(noisy - more)


def test_slabs_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Noise(1.0, 5.0, "rician", None)
    noisy = np.abs(np.tile(textured(24), (5, 1, 1)) + drawn(120, 24, 24))
    whole = nlm.denoise(noisy, noise), collaborative.denoise(noisy, noise)
    seen: list[int] = []
    monkeypatch.setattr(slabs, "SLAB", 1)
    whole_work = dct.hard_threshold

    def counted(one: np.ndarray, threshold: float) -> np.ndarray:
        seen.append(len(one))
        return whole_work(one, threshold)

    monkeypatch.setattr(dct, "hard_threshold", counted)
    parts = nlm.denoise(noisy, noise), collaborative.denoise(noisy, noise)
    assert len(seen) > 4 and max(seen) < 120
    for one, other in zip(whole, parts, strict=True):
        assert np.allclose(one, other, atol=1e-3)


@given(count=st.integers(1, 300), most=st.integers(1, 100), least=st.integers(1, 40))
def test_portions_cover_all_in_about_equal_lengths(count: int, most: int, least: int) -> None:
    found = threads.portions(count, most, least)
    assert found[0].start == 0 and found[-1].stop == count
    assert all(one.stop == other.start for one, other in itertools.pairwise(found))
    lengths = [one.stop - one.start for one in found]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= min(least, count)
    assert max(lengths) <= max(most, 2 * least)


def test_portions_end_together_on_few_threads() -> None:
    # 33 rows of which 14 may go at once: not 14, 14 and 5
    assert [one.stop - one.start for one in threads.portions(33, 14)] == [8, 8, 8, 9]
    assert len(threads.portions(2, 1)) == 2


def test_rician_noise_is_undone_without_bias() -> None:
    rng = np.random.default_rng(0)
    signal = 2.0
    noisy = np.hypot(signal + rng.normal(size=(40, 40, 40)), rng.normal(size=(40, 40, 40)))

    def mean(work: np.ndarray) -> np.ndarray:
        return np.full_like(work, work.mean())

    for sigma in (1.0, 30.0):
        given_image = (sigma * noisy).astype(np.float32)
        rice = Noise(sigma, 5.0, "rician", None)
        found = unit_noise.filtered(given_image, rice, mean)
        # the mean of the magnitude is 2.27
        assert float(found.mean()) == pytest.approx(signal * sigma, rel=0.01)
        plain = unit_noise.filtered(given_image, Noise(sigma, 5.0, "gaussian", None), mean)
        assert float(plain.mean()) == pytest.approx(float(given_image.mean()), rel=1e-4)
