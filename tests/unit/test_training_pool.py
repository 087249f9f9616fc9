"""The pool of earlier generated images."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.pool import ImagePool


def images(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1, 1)


def test_pool_gives_what_it_kept_at_a_chance_of_a_half() -> None:
    torch.manual_seed(0)
    pool = ImagePool(2, (1, 1, 1, 1))
    assert pool(images(1.0, 2.0)).flatten().tolist() == [1.0, 2.0]
    given, kept = [], {1.0, 2.0}
    for value in range(3, 203):
        (found,) = pool(images(float(value))).flatten().tolist()
        assert found == value or found in kept
        kept = set(pool.kept.flatten().tolist())
        given.append(found != value)
        assert (float(value) in kept) == given[-1]
    assert 70 < sum(given) < 130


def test_pool_of_none_and_pool_in_a_checkpoint() -> None:
    none = ImagePool(0, (1, 1, 1, 1))
    assert none(images(5.0)).item() == 5.0
    pool, other = ImagePool(3, (1, 1, 1, 1)), ImagePool(3, (1, 1, 1, 1))
    pool(images(1.0, 2.0))
    other.load_state_dict(pool.state_dict())
    torch.manual_seed(1)
    first = [pool(images(float(v))).item() for v in range(20)]
    torch.manual_seed(1)
    assert first == [other(images(float(v))).item() for v in range(20)]


# samples
