"""Pairs of images with labels, listed in a table, and three ways to make some.

``python -m tests.benchmarks.register.pairs phantom OUT`` (subjects of the embedded cohort, known
fields), ``… label-maps FOLDER OUT`` (images drawn from FreeSurfer label maps) and ``… images
FOLDER OUT`` (skull-stripped T1w, labels by a mixture of intensities) write OUT/pairs.tsv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError

NEEDED = ("name", "moving", "fixed", "moving_labels", "fixed_labels")
COLUMNS = (*NEEDED, "moving_mask", "fixed_mask", "truth_field", "labels_by")


@dataclass(frozen=True)
class Pair:
    """One row of a table of pairs.

    Attributes:
        name: short and unique; names a folder.
        moving, fixed: skull-stripped images, zero outside the brain unless masks are given.
        moving_labels, fixed_labels: labels on the grid of each.
        moving_mask, fixed_mask: brain; None takes where the image is not zero.
        truth_field: true displacement from fixed to moving points (LPS, mm), affine and all.
        labels_by: where the labels come from, for the table's head.
    """

    name: str
    moving: Path
    fixed: Path
    moving_labels: Path
    fixed_labels: Path
    moving_mask: Path | None = None
    fixed_mask: Path | None = None
    truth_field: Path | None = None
    labels_by: str = ""


@dataclass(frozen=True)
class Side:
    """One side of a pair in memory: image, zero outside the brain, and labels, on one grid."""

    image: sitk.Image
    labels: sitk.Image


#: Makes the sides of a pair: name, moving, fixed, true field or None.
Made = tuple[str, Side, Side, sitk.Image | None]


def read(table: Path) -> list[Pair]:
    """Read a table of pairs; relative paths start at its folder.

    Raises:
        VoxelwayError: E-USAGE without a column that is needed, without a row, or with a name twice.
    """
    rows = files.read_tsv(table)
    missing = [name for name in NEEDED if not rows or name not in rows[0]]
    if missing:
        what = f"The table of pairs lacks {', '.join(missing)}" if rows else "It lists no pair"
        raise VoxelwayError(
            "E-USAGE", what, where=str(table), hint=f"Columns: {', '.join(COLUMNS)}"
        )
    names = [row["name"] for row in rows]
    if len(set(names)) < len(names) or any(Path(name).name != name for name in names):
        what = "Names of pairs must be unique and names of folders"
        raise VoxelwayError("E-USAGE", what, where=str(table))
    return [_pair(row, table.parent) for row in rows]


def _pair(row: dict[str, str], base: Path) -> Pair:
    values: dict[str, object] = {}
    for field in fields(Pair):
        text = row.get(field.name) or ""
        plain = field.name in ("name", "labels_by")
        values[field.name] = text if plain else (base / text if text else None)
    return Pair(**values)  # type: ignore[arg-type]


def write(folder: Path, made: Sequence[Callable[[], Made]], labels_by: str) -> Path:
    """Write pairs one by one and, last, the table that lists them.

    Returns:
        Path of the table.
    """
    rows = []
    for make in made:
        name, moving, fixed, truth = make()
        row = {"name": name, "labels_by": labels_by}
        for side, part in (("moving", moving), ("fixed", fixed)):
            images.write_image(part.image, folder / name / f"{side}.nii.gz")
            images.write_image(part.labels, folder / name / f"{side}_labels.nii.gz")
            row |= {side: f"{name}/{side}.nii.gz", f"{side}_labels": f"{name}/{side}_labels.nii.gz"}
        if truth is not None:
            row["truth_field"] = f"{name}/truth_field.nii.gz"
            images.write_image(truth, folder / row["truth_field"])
        rows.append(row)
        print(f"pair {name}", file=sys.stderr, flush=True)
    table = folder / "pairs.tsv"
    files.write_tsv(table, COLUMNS, rows)
    return table


def choose(cases: int, count: int) -> list[tuple[int, int]]:
    """Indices of moving and fixed case: neighbours, every case once before any comes again.

    Raises:
        VoxelwayError: E-USAGE when the cases do not make that many pairs.
    """
    found = [(i, i + 1) for start in (0, 1) for i in range(start, cases - 1, 2)]
    if count < 1 or count > len(found):
        raise VoxelwayError("E-USAGE", f"{cases} cases make 1 to {len(found)} pairs, not {count}")
    return found[:count]


def main(argv: Sequence[str] | None = None) -> int:
    """Make pairs as the command line asks."""
    from tests.benchmarks.register import drawn, phantom

    parser = argparse.ArgumentParser(prog="pairs", description=__doc__)
    parser.add_argument("kind", choices=["phantom", "label-maps", "images"])
    parser.add_argument("folders", nargs="+", type=Path, metavar="[FOLDER] OUT")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing", type=float, default=2.0, help="of the phantom, mm")
    parser.add_argument("--moving-contrast", choices=["T1w", "T2w"], default="T1w")
    parser.add_argument("--files", default="", help="pattern of the files in FOLDER")
    options = parser.parse_args(argv)
    expected = 1 if options.kind == "phantom" else 2
    if len(options.folders) != expected:
        parser.error(f"{options.kind} takes {expected} folder(s)")
    out, seed = options.folders[-1], options.seed
    contrast, count = options.moving_contrast, options.count
    if options.kind == "phantom":
        made = phantom.pairs(count, options.spacing, contrast, seed)
        table = write(out, made, "known tissues of the phantom")
    elif options.kind == "label-maps":
        paths = listed(options.folders[0], options.files or "*.nii*")
        made = drawn.from_label_maps(paths, count, contrast, seed)
        table = write(out, made, "FreeSurfer's label maps, which the images are drawn from")
    else:
        paths = listed(options.folders[0], options.files or "*T1w.nii*")
        made = drawn.from_images(paths, count)
        table = write(out, made, "three tissues by a mixture of each image's intensities")
    print(table)
    return 0


def listed(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder, sorted.

    Raises:
        VoxelwayError: E-CONFIG-PATH without any.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise VoxelwayError("E-CONFIG-PATH", f"No file like {pattern}", where=str(folder))
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
