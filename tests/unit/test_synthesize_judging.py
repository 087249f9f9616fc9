"""Realism: distances whose values are worked out by hand, and what they must always hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.networks.autoencoder import AutoEncoder
from pipeline.synthesize.judging import distances, features, realism, two_sample
from pipeline.synthesize.judging.features import Picture


def zeros(*counts: int) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros(count, dtype=np.int_) for count in counts)


def test_frechet_of_known_gaussians() -> None:
    # means 3 and 4 apart: 25; deviations 1 and 3, 2 and 2: (1-3)² + (2-2)² = 4
    a, b = np.diag([1.0, 4.0]), np.diag([9.0, 4.0])
    apart = np.array([3.0, 4.0])
    assert distances.frechet_gaussian(np.zeros(2), a, apart, b) == pytest.approx(29.0)


def test_frechet_of_covariances_that_do_not_commute() -> None:
    # A = [[2,1],[1,2]], B = diag(1,0): A½ B A½ has the single eigenvalue trace(AB) = 2
    a, b = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([1.0, 0.0])
    none = np.zeros(2)
    expected = 4.0 + 1.0 - 2.0 * np.sqrt(2.0)
    assert distances.frechet_gaussian(none, a, none, b) == pytest.approx(expected)


def test_frechet_of_small_samples_by_hand() -> None:
    # mean 1, variance 2 (n-1) and mean 5, variance 8: 16 + (√2 - 2√2)² = 18
    a, b = np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])
    assert distances.frechet(a, b) == pytest.approx(18.0)


def test_frechet_agrees_with_monai() -> None:
    from monai.metrics.fid import get_fid_score

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 5)), rng.normal(0.5, 2.0, (50, 5))
    theirs = float(get_fid_score(torch.from_numpy(a), torch.from_numpy(b)))
    assert distances.frechet(a, b) == pytest.approx(theirs, rel=1e-6)


samples = st.tuples(
    st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9), st.integers(1, 6)
).map(lambda t: _draw(*t))


def _draw(seed: int, n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(1.0, 2.0, (m, d))


@settings(deadline=None, max_examples=40)
@given(samples, st.floats(-5, 5))
def test_what_distances_always_hold(pair: tuple[np.ndarray, np.ndarray], shift: float) -> None:
    a, b = pair
    assert distances.frechet(a, a) == pytest.approx(0.0, abs=1e-6)
    assert distances.frechet(a, b) >= 0.0
    assert distances.frechet(a, b) == pytest.approx(distances.frechet(b, a), abs=1e-6)
    assert distances.frechet(a + shift, b + shift) == pytest.approx(
        distances.frechet(a, b), rel=1e-6, abs=1e-6
    )
    # the same samples moved apart: the means' distance alone
    assert distances.frechet(a, a + shift) == pytest.approx(a.shape[1] * shift**2, abs=1e-5)
    assert distances.mmd(a, b) == pytest.approx(distances.mmd(b, a))
    assert distances.mmd(a, b) <= 2.0


def test_mmd_by_hand() -> None:
    # within: exp(-1/2) once each; across: distances 1, 2, 0, 1 of which k = e^-½, e^-2, 1, e^-½
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    half, two = np.exp(-0.5), np.exp(-2.0)
    expected = half + half - 2.0 * (half + two + 1.0 + half) / 4.0
    assert distances.mmd(a, b, width=1.0) == pytest.approx(expected)


def test_median_heuristic() -> None:
    # 0, 1, 3: distances 1, 3, 2
    assert distances.bandwidth(np.array([[0.0], [1.0]]), np.array([[3.0]])) == 2.0
    assert distances.bandwidth(np.zeros((2, 1)), np.zeros((1, 1))) == 1.0


def test_mmd_is_unbiased() -> None:
    rng = np.random.default_rng(1)
    found = [distances.mmd(rng.normal(size=(8, 2)), rng.normal(size=(8, 2)), 1.0)
             for _ in range(300)]  # fmt: skip
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0.0


def test_permutation_test_sees_a_shift_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    groups = zeros(20, 20)
    assert distances.mmd_test(a, b + 3.0, groups, 99, 0).p == pytest.approx(0.01)
    assert distances.mmd_test(a, b, groups, 99, 0).p > 0.05
    # one sample a kind in each group: exchanged or not, and identical samples never differ
    same = distances.mmd_test(a, a, (np.arange(20), np.arange(20)), 19, 0)
    assert same.p == 1.0


def test_p_is_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(3)
    values = [
        distances.mmd_test(*rng.normal(size=(2, 10, 2)), zeros(10, 10), 19, k).p for k in range(200)
    ]
    # 0.05, 0.10, …, 1: the mean is 0.525, with an error of 0.29 / √200 = 0.02
    assert abs(np.mean(values) - 0.525) < 0.08


def test_relabelling_stays_within_groups() -> None:
    first = np.array([True, True, False, False, True, False])
    groups = np.array([0, 0, 0, 1, 1, 2])
    for one in distances.relabelled(first, groups, 20, 0):
        assert one[:3].sum() == 2 and one[3:5].sum() == 1 and not one[5]


def test_chance_level_is_that_of_equal_samples() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + 5.0
    chance = distances.frechet_chance(a, b, zeros(30, 30), 20, 0)
    # labels exchanged at random: the shift of 5 in each of 4 features is in both halves
    assert chance < 0.1 * distances.frechet(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 2)), np.zeros((5, 2))),
        (np.zeros((5, 2)), np.zeros((5, 3))),
        (np.full((5, 2), np.nan), np.zeros((5, 2))),
    ],
)
def test_samples_that_cannot_be_compared(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(ValueError):
        distances.frechet(a, b)
    with pytest.raises(ValueError):
        distances.mmd(a, b)


def test_classifier_tells_apart_what_is_apart() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    told = two_sample.classify(a, b + 10.0, zeros(40, 40), 0)
    # twice 40 of 40, whose exact interval begins at 0.025^(1/40); the mean of both is surer
    assert told.accuracy == 1.0 and told.high == 1.0
    assert told.low == pytest.approx(1 - (1 - 0.025 ** (1 / 40)) / np.sqrt(2))
    guessed = two_sample.classify(a, b, zeros(40, 40), 0)
    assert guessed.low < 0.5 < guessed.high and guessed.independent == 80


def test_the_interval_of_unequal_numbers_is_about_the_accuracy() -> None:
    # nine in ten are real, and what is guessed right are real ones for the most part
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(180, 2)), rng.normal(size=(20, 2)) + 0.3
    told = two_sample.classify(a, b, zeros(180, 20), 0)
    assert told.low < told.accuracy < told.high


def test_classifier_does_not_know_the_subjects() -> None:
    # each subject is far from the others, real and made alike: nothing to tell
    rng = np.random.default_rng(6)
    centres = 50.0 * rng.normal(size=(6, 3))
    groups = np.repeat(np.arange(6), 10)
    a, b = (centres[groups] + rng.normal(size=(60, 3)) for _ in range(2))
    found = two_sample.classify(a, b, (groups, groups), 0)
    assert abs(found.accuracy - 0.5) < 0.15 and found.independent == 6


def test_classifier_holds_out_subjects_that_are_of_one_kind() -> None:
    # subjects 0-3 are real, 4-7 made; who is who could be learned by heart, and must not be
    rng = np.random.default_rng(7)
    centres = 50.0 * rng.normal(size=(8, 20))
    groups = np.repeat(np.arange(4), 10), np.repeat(np.arange(4, 8), 10)
    a, b = (centres[one] + rng.normal(size=(40, 20)) for one in groups)
    by_subject = two_sample.classify(a, b, groups, 0)
    by_heart = two_sample.classify(a, b, zeros(40, 40), 0)
    assert by_heart.accuracy == 1.0
    assert by_subject.accuracy < 0.9 and by_subject.independent == 8


def picture(name: str, gain: float, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    values = (gain * rng.normal(1.0, 0.2, (14, 14, 14))).astype(np.float32)
    return Picture(name, values, np.ones(values.shape, dtype=bool))


def test_patches_are_centred_on_the_mask() -> None:
    values = np.zeros((6, 6, 6), np.float32)
    values[0, 2, 5] = 7.0
    mask = values > 0
    cubes = features.patches(Picture("a", values, mask), 4, 3, np.random.default_rng(0))
    assert cubes.shape == (3, 1, 4, 4, 4)
    assert (cubes[:, 0, 2, 2, 2] == 7.0).all() and float(cubes.sum()) == 21.0
    with pytest.raises(ValueError, match="empty"):
        features.patches(Picture("a", values, mask & False), 4, 1, np.random.default_rng(0))


def test_features_are_means_of_every_depth_in_deviations_of_real_patches() -> None:
    network = AutoEncoder(features=(1, 1))
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            # the middle of the kernel alone, times 2, and no bias
            parameter.zero_()
            if parameter.ndim == 5:
                parameter[:, :, 1, 1, 1] = 2.0
    cubes = torch.stack([torch.full((1, 4, 4, 4), value) for value in (1.0, -1.0)])
    raw = features.raw(network, cubes)
    # 2, then 4; leaky units give a fifth of what is negative, twice
    assert np.allclose(raw, [[2.0, 4.0], [-0.4, -0.16]])
    encoder = features.Encoder(network, np.array([1.0, 0.0]), np.array([0.5, 4.0]))
    assert np.allclose(encoder.describe(cubes), [[2.0, 1.0], [-2.8, -0.04]])


def test_realism_of_real_and_of_blatantly_made_images(tmp_path: Path) -> None:
    real = [picture(f"s{k}", 1.0, k) for k in range(3)]
    others = [picture(f"s{k}", 1.0, 10 + k) for k in range(3)]
    fakes = [picture(f"s{k}", 2.0, 20 + k) for k in range(3)]
    encoder = features.learn(real, 8, 3, 0, tmp_path, "a")
    again = features.learn(real, 8, 3, 0, tmp_path / "again", "a")
    cubes = torch.ones(1, 1, 8, 8, 8)
    assert np.array_equal(encoder.describe(cubes), again.describe(cubes))
    alike = realism.judge(real, others, encoder, side=8, count=20)
    fake = realism.judge(real, fakes, encoder, side=8, count=20)
    assert fake.p < 0.01 < alike.p
    assert fake.classifier.accuracy > 0.9 and alike.classifier.accuracy < 0.75
    assert fake.fid > 3 * fake.fid_chance and alike.fid < 3 * alike.fid_chance
    assert alike.subjects == 3 and alike.samples == (60, 60)
    assert any("covariance" in text for text in alike.warnings)
    assert any("3 subjects" in text for text in alike.warnings)
    assert alike.scores()["realism: p of the MMD"].mean == alike.p


def test_warnings_go_where_samples_are_many() -> None:
    rng = np.random.default_rng(8)
    many, groups = rng.normal(size=(60, 3)), np.repeat(np.arange(6), 10)
    assert realism.warnings(many, many, (groups, groups)) == ()
    few = realism.warnings(many[:2], many, (groups[:2], groups))
    assert len(few) == 4
