"""Samples by number, batches by number, and subjects that are on one side only."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import SPLITS, Row
from pipeline.paths import Unit
from pipeline.training.data import Order, SeededSamples, check_sides, collate, sides


def noise(rng: np.random.Generator, index: int) -> dict[str, Any]:
    return {"index": index, "values": rng.normal(size=2)}


def test_a_sample_depends_on_seed_and_number_only() -> None:
    one, two = SeededSamples(noise, 3, 10), SeededSamples(noise, 3)
    backwards = {k: one[k]["values"] for k in reversed(range(10))}
    assert all(np.array_equal(backwards[k], two[k]["values"]) for k in range(10))
    assert not np.array_equal(one[0]["values"], one[1]["values"])
    assert not np.array_equal(one[0]["values"], SeededSamples(noise, 4)[0]["values"])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int) -> None:
    data = SeededSamples(noise, 0, 7)
    loader = DataLoader(data, batch_size=2, num_workers=workers, collate_fn=collate)
    batches = list(loader)
    values = torch.cat([batch["values"] for batch in batches])
    expected = np.stack([data[k]["values"] for k in range(7)]).astype(np.float32)
    assert values.dtype == torch.float32 and np.array_equal(values.numpy(), expected)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(7))


def test_what_is_not_there() -> None:
    with pytest.raises(IndexError):
        SeededSamples(noise, 0, 3)[3]
    with pytest.raises(TypeError):
        len(SeededSamples(noise, 0))


@given(
    length=st.one_of(st.none(), st.integers(1, 30)),
    share=st.integers(1, 4),
    world=st.integers(1, 3),
    cut=st.integers(0, 12),
)
def test_the_order_goes_on_where_it_was_cut_and_is_shared(
    length: int | None, share: int, world: int, cut: int
) -> None:
    data, batch = SeededSamples(noise, 0, length), share * world
    whole = list(Order(data, batch, 0, 12, 5))
    assert list(Order(data, batch, 0, cut, 5)) + list(Order(data, batch, cut, 12, 5)) == whole
    parts = [list(Order(data, batch, 0, 12, 5, rank, world)) for rank in range(world)]
    assert [list(chain(*shares)) for shares in zip(*parts, strict=True)] == whole
    flat = list(chain(*whole))
    if length is None:
        assert flat == list(range(12 * batch))
    else:
        for start in range(0, len(flat) - length + 1, length):
            assert sorted(flat[start : start + length]) == list(range(length))


def row(subject: str, session: str, suffix: str, split: str) -> Row:
    return Row(
        subject=subject, session=session, series="s", suffix=suffix, modality="MR",
        manufacturer="Phantom", field_strength=3.0, rows=10, columns=10, slices=10, spacing_x=1.0,
        spacing_y=1.0, spacing_z=1.0, thickness=1.0, files=10, voxels=1000, split=split, shard=0,
        digest="d",
    )  # fmt: skip


scans = st.lists(
    st.tuples(
        st.sampled_from("abcde"), st.sampled_from(["01", "02", "03"]),
        st.sampled_from(["T1w", "T2w", "FLAIR"]),
    ),
    unique=True,
    max_size=20,
)  # fmt: skip


@given(scans, st.fixed_dictionaries({name: st.sampled_from(SPLITS) for name in "abcde"}))
def test_no_subject_is_on_both_sides(
    taken: list[tuple[str, str, str]], split: dict[str, str]
) -> None:
    rows = [row(*scan, split[scan[0]]) for scan in taken]
    train, validation = sides(rows)
    assert not {unit.subject for unit in train} & {unit.subject for unit in validation}
    units = {Unit(subject, session) for subject, session, _ in taken}
    assert set(train) == {unit for unit in units if split[unit.subject] == "train"}
    assert set(validation) == {unit for unit in units if split[unit.subject] == "val"}


@given(scans.filter(bool), st.data())
def test_a_manifest_that_splits_a_subject_is_refused(
    taken: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    splits = data.draw(st.lists(st.sampled_from(SPLITS), min_size=len(taken), max_size=len(taken)))
    rows = [row(*scan, split) for scan, split in zip(taken, splits, strict=True)]
    given_to: dict[str, set[str]] = {}
    for item in rows:
        given_to.setdefault(item.subject, set()).add(item.split)
    if all(len(found) == 1 for found in given_to.values()):
        sides(rows)
    else:
        with pytest.raises(VoxelwayError, match="E-TRAIN-SPLIT"):
            sides(rows)


def test_two_sessions_of_one_subject_on_two_sides() -> None:
    with pytest.raises(VoxelwayError, match=r"E-TRAIN-SPLIT.*sub-a"):
        check_sides([Unit("a", "01"), Unit("b", "01")], [Unit("a", "02"), Unit("c", "01")])
    check_sides([Unit("a", "01"), Unit("a", "02")], [Unit("b", "01")])
