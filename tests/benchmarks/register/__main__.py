"""Command line of the benchmark; see `make bench-register`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks.register import bench, pairs, phantom
from tests.benchmarks.register.table import table

#: Pairs of the phantom where the user gives none.
PHANTOM_PAIRS = 3


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run, write the long table row by row, print the means."""
    options = _arguments(argv)
    names = options.methods.split(",") if options.methods else list(bench.METHODS)
    unknown = [name for name in names if name not in bench.METHODS]
    if unknown:
        hint = f"Known: {', '.join(bench.METHODS)}"
        raise VoxelwayError("E-USAGE", f"No method {', '.join(unknown)}", hint=hint)
    work = options.out.parent / "bench-register"
    chosen = pairs.read(options.pairs or _phantom(work, options.spacing))
    setup = bench.Setup(options.peers, options.cores, options.model, work / "work")
    rows: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []

    def each(row: Mapping[str, Any]) -> None:
        rows.append({key: row.get(key) for key in bench.ROW})
        labels.extend(_labels(row))
        files.write_tsv(options.out, bench.ROW, rows)
        by_label = options.out.with_name(f"{options.out.stem}_labels.tsv")
        files.write_tsv(by_label, bench.LABEL_ROW, labels)
        print(_progress(row), file=sys.stderr, flush=True)

    bench.run(chosen, names, setup, each)
    print("\n".join([*head(chosen, rows, options.cores, options.baseline), ""]))
    print(table(rows, options.baseline))
    failed = [row for row in rows if row["error"]]
    for row in failed:
        print(f"{row['method']} failed on {row['pair']}: {row['error']}", file=sys.stderr)
    return Exit.SOME if failed else Exit.DONE


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-register", description=__doc__)
    parser.add_argument("--pairs", type=Path, help="table of pairs; without it, phantom pairs")
    parser.add_argument("--peers", type=Path, default=Path("build/bench-peers/bin/python"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--methods", default="", help=f"of {','.join(bench.METHODS)}")
    parser.add_argument("--baseline", default="greedy", help="method of the differences")
    parser.add_argument("--model", type=Path, help="bundle; without it, the one that ships")
    parser.add_argument("--spacing", type=float, default=2.0, help="of phantom pairs, mm")
    parser.add_argument("--out", type=Path, default=Path("build/bench-register.tsv"))
    return parser.parse_args(argv)


def _phantom(work: Path, spacing: float) -> Path:
    """Table of the default pairs, made where it does not exist."""
    folder = work / f"phantom-{spacing:g}mm"
    made = folder / "pairs.tsv"
    if made.is_file():
        return made
    makers = phantom.pairs(PHANTOM_PAIRS, spacing, "T1w", 0)
    return pairs.write(folder, makers, "known tissues of the phantom")


def head(
    chosen: Sequence[pairs.Pair], rows: Sequence[Mapping[str, Any]], cores: int, baseline: str
) -> list[str]:
    """What the numbers rest on, for above the table."""
    sources = ", ".join(dict.fromkeys(pair.labels_by or "the user" for pair in chosen))
    versions = ", ".join(dict.fromkeys(str(row["version"]) for row in rows if row["version"]))
    machine = f"{platform.machine()}, {platform.system()}"
    compared = any(row["method"] == baseline for row in rows)
    brackets = f"; in brackets the mean difference to {baseline} on the same pairs, with its own"
    return [
        f"{len(chosen)} pairs, {cores} cores ({machine}); {versions}.",
        f"Labels by {sources}; Dice and HD95 are means over them.",
        "All start from one affine a pair, whose seconds and memory are those of its own line.",
        f"Mean ± half of its 95 % interval over pairs{brackets if compared else ''}.",
    ]


def _labels(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    same = {"pair": row["pair"], "method": row["method"]}
    return [{**same, "label": label, **scores} for label, scores in row.get("labels", {}).items()]


def _progress(row: Mapping[str, Any]) -> str:
    if row.get("error"):
        return f"{row['pair']} {row['method']}: {row['error']}"
    return f"{row['pair']} {row['method']}: Dice {row['dice']:.3f}, {row['seconds']:.1f} s"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
