"""Losses that compare the gradients of two contrasts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.training.losses.gradient_consistency import GradientConsistency, correlation


def noise(seed: int) -> Tensor:
    return torch.randn(2, 1, 9, 9, 9, generator=torch.Generator().manual_seed(seed))


def test_gradient_correlation_of_scaled_inverted_and_other_images() -> None:
    image = noise(0)
    assert correlation(image, 3 * image + 7).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    assert correlation(image, -image).tolist() == pytest.approx([-1.0, -1.0], abs=1e-4)
    assert float(correlation(image, noise(1)).abs().max()) < 0.15


def test_gradient_correlation_by_hand() -> None:
    # along x: differences of (0, 0, 2, 2, 0) are 1, 1, -1, of (0, 2, 2, 0, 0) are 1, -1, -1:
    # both of mean ±1/3 and variance 8/9, covariance 1/3 + 1/9; no contrast along z and y
    a, b = ((torch.tensor(v).expand(1, 1, 3, 3, 5)) for v in ([0.0, 0, 2, 2, 0], [0.0, 2, 2, 0, 0]))
    assert float(correlation(a, b)) == pytest.approx((1 / 3 + 1 / 9) / (8 / 9) / 3, abs=1e-4)


def test_gradient_correlation_does_not_look_at_the_edge_of_a_mask() -> None:
    a, b, inside = noise(4), noise(5), torch.zeros(2, 1, 9, 9, 9)
    inside[..., 1:8, 1:8, 1:8] = 1
    # masked images share the edge of the mask, and nothing within
    assert float(correlation(a * inside + 9 * inside, b * inside + 9 * inside).min()) > 0.5
    within = correlation((a + 9) * inside, (b + 9) * inside, inside)
    assert float(within.abs().max()) < 0.3
    assert torch.allclose(within, correlation(a, b, inside), atol=1e-5)


def test_published_loss_hears_polarity_and_the_local_one_does_not() -> None:
    image = noise(2)
    published, local = GradientConsistency(0), GradientConsistency(5)
    assert float(published(image, image)) == pytest.approx(0.0, abs=1e-4)
    assert float(published(-image, image)) == pytest.approx(2.0, abs=1e-4)
    assert float(local(-image, image)) == pytest.approx(0.0, abs=1e-3)
    assert float(local(noise(3), image)) > 0.8
    with pytest.raises(ValueError):
        GradientConsistency(4)


# the pool
