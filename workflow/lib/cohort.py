"""The manifest as the rules ask for it: read once, looked up by unit."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

from pipeline.ingest.manifest import Row, read_manifest
from pipeline.paths import Unit


class Cohort:
    """Units of a manifest with their rows."""

    def __init__(self, rows: list[Row]) -> None:
        grouped: dict[Unit, list[Row]] = defaultdict(list)
        for row in rows:
            grouped[row.unit].append(row)
        self.rows = dict(sorted(grouped.items()))
        self._by_size: dict[int, dict[str, list[Unit]]] = {}

    @property
    def units(self) -> list[Unit]:
        """All units, sorted."""
        return list(self.rows)

    def split(self, name: str) -> list[Unit]:
        """Units of subjects in the split ``train``, ``val`` or ``test``."""
        return [unit for unit, rows in self.rows.items() if rows[0].split == name]

    def shard(self, unit: Unit, size: int) -> str:
        """Name of the shard of at most ``size`` units that a unit belongs to; it never changes."""
        return self.rows[unit][0].shard_name(size)

    def members(self, name: str, size: int) -> list[Unit]:
        """Units of a shard, sorted."""
        return self._shards(size).get(name, [])

    def _shards(self, size: int) -> dict[str, list[Unit]]:
        if size not in self._by_size:
            found: dict[str, list[Unit]] = defaultdict(list)
            for unit, rows in self.rows.items():
                found[rows[0].shard_name(size)].append(unit)
            self._by_size[size] = dict(found)
        return self._by_size[size]

    def isotropic_voxels(self, unit: Unit) -> int:
        """Voxels of the unit's largest field of view at its finest spacing: the common grid."""
        return max((_isotropic(row) for row in self.rows.get(unit, ())), default=0)


def _isotropic(row: Row) -> int:
    spacing = (row.spacing_x, row.spacing_y, row.spacing_z)
    volume = row.columns * row.rows * row.slices * math.prod(spacing)
    return round(volume / min(spacing) ** 3)


def load(path: Path) -> Cohort:
    """Read a manifest; the same file is parsed once."""
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, age: int) -> Cohort:
    return Cohort(read_manifest(path))
