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

    @property
    def units(self) -> list[Unit]:
        """All units, sorted."""
        return list(self.rows)

    def split(self, name: str) -> list[Unit]:
        """Units of subjects in the split ``train``, ``val`` or ``test``."""
        return [unit for unit, rows in self.rows.items() if rows[0].split == name]

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
