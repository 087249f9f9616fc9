"""What a section holds, before it becomes HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import VoxelwayError
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record


@dataclass(frozen=True)
class Table:
    """A small table of text."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    #: colours of the first column, as a legend
    colors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A file of the results folder that the page leads to."""

    text: str
    path: Path


@dataclass
class Content:
    """Pictures to make, tables and sentences of one section.

    Attributes:
        pictures: key of the figure and what makes it; each may fail without the others.
        tables: small tables.
        sentences: what has to be said.
        outputs: files whose sidecars tell what was done; the first counts.
        links: files to open.
    """

    pictures: list[tuple[str, Callable[[], Figure]]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


Builder = Callable[[Record], Content]


def need(path: Path) -> Path:
    """Refuse a file that should stand and does not."""
    if not path.is_file():
        raise VoxelwayError("E-IMG-MISSING", "The file does not exist", where=path.name)
    return path


def millimetres(values: Sequence[float]) -> str:
    """Spacing as text: ``1 × 1 × 4 mm``."""
    return " × ".join(f"{value:.3g}" for value in values) + " mm"


def voxels(values: Sequence[int]) -> str:
    """Lattice as text: ``180 × 220 × 30``."""
    return " × ".join(str(value) for value in values)
