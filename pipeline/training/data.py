"""Data of a training: samples that depend on a seed and a number only, subjects on one side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import Row, split_of, units
from pipeline.paths import Unit
from pipeline.training import split

Draw = Callable[[np.random.Generator, int], dict[str, Any]]


class SeededSamples(Dataset[dict[str, Any]]):
    """Samples drawn on demand: sample k depends on the seed and k, on nothing else.

    Args:
        draw: makes one sample, a mapping of arrays, from a generator and the number k.
        seed: of this data set; give training and validation different ones.
        count: number of samples. None goes on without end: the trainer then takes samples
            0, 1, 2, … and none twice, where it shuffles a data set that has an end.
    """

    def __init__(self, draw: Draw, seed: int, count: int | None = None) -> None:
        self.draw, self.seed, self.count = draw, seed, count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.count is not None and not 0 <= index < self.count:
            raise IndexError(index)
        return self.draw(np.random.default_rng([self.seed, index]), index)

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError("the samples have no end")
        return self.count


class Order(Sampler[list[int]]):
    """Batches of sample numbers; batch n depends on the seed and n only.

    A data set with an end is gone through in a new random order each time; one without an end in
    the order of its numbers.

    Args:
        data: the data set.
        batch: samples of a batch over all processes.
        first: number of the first batch.
        last: number after the last batch.
        seed: of the order.
        rank: number of this process, which takes its share of each batch.
        world: number of processes; divides ``batch``.
    """

    def __init__(
        self, data: Dataset[Any], batch: int, first: int, last: int, seed: int,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.length = length_of(data)
        self.batch, self.first, self.last, self.seed = batch, first, last, seed
        share = batch // world
        self.mine = range(rank * share, (rank + 1) * share)
        self._round, self._shuffled = -1, np.empty(0, dtype=np.int64)

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(self.first, self.last):
            yield [self._sample(number * self.batch + place) for place in self.mine]

    def __len__(self) -> int:
        return self.last - self.first

    def _sample(self, position: int) -> int:
        if self.length is None:
            return position
        turn, place = divmod(position, self.length)
        if turn != self._round:
            generator = np.random.default_rng([self.seed, turn])
            self._round, self._shuffled = turn, generator.permutation(self.length)
        return int(self._shuffled[place])


def length_of(data: Dataset[Any]) -> int | None:
    """Number of samples; None for a data set without an end."""
    if isinstance(data, SeededSamples):
        return data.count
    return len(data)  # type: ignore[arg-type]


def collate(samples: Sequence[Any]) -> Any:
    """Samples as one batch; arrays of float64 become float32, which the networks compute in."""
    from torch.utils.data import default_collate

    return _single(default_collate(list(samples)))


def _single(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.float64 else value
    if isinstance(value, Mapping):
        return {key: _single(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_single(item) for item in value]
    return value


def sides(rows: Sequence[Row]) -> tuple[list[Unit], list[Unit]]:
    """Units of the manifest to train on and to validate on.

    Returns:
        The units of the splits ``train`` and ``val``; the split ``test`` is in neither.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT when a subject is on both sides.
    """
    found = {unit: split_of(rows, unit) for unit in units(rows)}
    _check_rows(rows)
    train = [unit for unit, split in found.items() if split == "train"]
    validation = [unit for unit, split in found.items() if split == "val"]
    check_sides(train, validation)
    return train, validation


def _check_rows(rows: Iterable[Row]) -> None:
    split: dict[str, str] = {}
    for row in rows:
        if split.setdefault(row.subject, row.split) != row.split:
            what = f"The manifest puts one subject into {split[row.subject]} and {row.split}"
            raise VoxelwayError("E-TRAIN-SPLIT", what, where=f"sub-{row.subject}", hint=_HINT)


def check_sides(train: Iterable[Unit], validation: Iterable[Unit]) -> None:
    """Refuse a subject that is trained on and validated on, in whatever sessions.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT with the subjects.
    """
    ours, theirs = ([f"sub-{unit.subject}" for unit in side] for side in (train, validation))
    split.check_apart(ours, theirs, _HINT)


_HINT = "Run `voxelway index` again; a subject belongs to one split with all its sessions"
