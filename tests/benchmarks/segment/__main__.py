"""Command line of the benchmark; see `make bench-segment`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks.segment import bench, cases
from tests.benchmarks.segment.table import mean_dice, table


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run, write the long table row by row, print the means."""
    options = _arguments(argv)
    chosen = _chosen(options.methods)
    work = options.out.parent / "bench-segment"
    found = cases.read(options.data) if options.data else cases.phantom(work / "phantom", 10, 1000)
    train, test = cases.split(found, options.fold, options.folds, options.seed)
    test = test[: options.cases or None]
    setup = bench.Setup(
        options.peers, options.cores, options.steps, options.seed, options.config,
        work / f"fold-{options.fold}",
    )  # fmt: skip
    setup.work.mkdir(parents=True, exist_ok=True)
    _note_split(setup.work / "split.json", train, test, options)
    labels = cases.labels_of(found)
    if labels != list(range(1, len(labels) + 1)):
        what = f"The labels {labels[:10]} are not 1, 2, 3, ..., which nnU-Net wants"
        raise VoxelwayError("E-USAGE", what, hint="Number them anew")
    columns = bench.columns(labels)
    rows: list[dict[str, Any]] = []

    def each(row: Mapping[str, Any]) -> None:
        rows.append({key: row.get(key) for key in columns})
        files.write_tsv(options.out, columns, rows)
        print(_progress(row, labels), file=sys.stderr, flush=True)

    bench.run(train, test, chosen, setup, each)
    print("\n".join([*head(rows, len(train), options), ""]))
    print(table(rows, labels))
    return Exit.SOME if any(row["error"] for row in rows) else Exit.DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-segment", description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="images/ and labels/; else the phantom")
    parser.add_argument("--steps", type=int, default=1000, help="of each training")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the folds and the trainings")
    parser.add_argument("--cases", type=int, default=0, help="to segment at most; 0 is all")
    parser.add_argument("--methods", default="", help="names, comma between; else all")
    parser.add_argument("--config", type=Path, help="of our training; else its defaults")
    parser.add_argument("--peers", type=Path, default=Path("build/bench-segment-peers/bin/python"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/bench-segment.tsv"))
    found = parser.parse_args(argv)
    if found.steps < 1 or found.cores < 1 or found.cases < 0:
        raise VoxelwayError("E-USAGE", "steps and cores are 1 or more, cases 0 or more")
    return found


def _chosen(asked: str) -> list[str]:
    names = [name.strip() for name in asked.split(",")] if asked else list(bench.METHODS)
    for name in names:
        if name not in bench.METHODS:
            hint = f"Known: {', '.join(bench.METHODS)}"
            raise VoxelwayError("E-USAGE", f"No method {name}", hint=hint)
    return names


def _note_split(
    path: Path, train: Sequence[cases.Case], test: Sequence[cases.Case], options: Any
) -> None:
    sides = {"train": [case.name for case in train], "test": [case.name for case in test]}
    told = {"fold": options.fold, "folds": options.folds, "seed": options.seed}
    files.write_json(path, {**told, **sides})


def head(rows: Sequence[Mapping[str, Any]], trained: int, options: Any) -> list[str]:
    """What the numbers rest on, for above the table."""
    versions = ", ".join(dict.fromkeys(str(row["version"]) for row in rows if row["version"]))
    data = "cases of the user" if options.data else "phantom subjects"
    ours = f"configuration {options.config}" if options.config else "defaults"
    return [
        f"{options.steps} steps on {trained} {data}, fold {options.fold} of {options.folds} "
        f"(seed {options.seed}); {options.cores} cores ({platform.machine()}, "
        f"{platform.system()}); {versions}, ours by its {ours}.",
        "Ours keeps some of the training cases to choose the checkpoint by, and plans inside its "
        "training; nnU-Net trains on all. Each segments its cases one by one, with one load.",
        "Memory is the largest of the main process; nnU-Net has others for its augmentation.",
        "Dice and seconds a case: mean ± half of its 95 % interval over cases.",
    ]


def _progress(row: Mapping[str, Any], labels: Sequence[int]) -> str:
    label = f"{row['method']}, {row['case']}"
    return f"{label}: {row.get('error') or format(mean_dice(row, labels), '.3f')}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
