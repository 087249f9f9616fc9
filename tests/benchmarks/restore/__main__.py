"""Command line of the benchmark; see `make bench-restore`."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import config, files, methods
from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks.restore import bench, cases
from tests.benchmarks.restore.table import gains, table


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run, write the long table row by row, print the means."""
    options = _arguments(argv)
    chosen = bench.chosen(options.methods, bench.available(), dict(options.model))
    work = options.out.parent / "bench-restore"
    made = work / "phantom", options.phantoms, 1.2, 1000, options.contrast
    paths = list(options.images) or cases.phantom(*made)
    setup = bench.Setup(
        # by the table, so that runs beside each other do not share files
        options.peers, options.cores, dict(options.model), work / f"work-{options.out.stem}",
        "xyz".index(options.axis), options.profile, options.segment, options.guide,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []

    def each(row: Mapping[str, Any]) -> None:
        rows.append({key: row.get(key) for key in bench.ROW})
        files.write_tsv(options.out, bench.ROW, rows)
        print(_progress(row), file=sys.stderr, flush=True)

    bench.run(paths, cases.tasks(options.noise, options.thickness), chosen, setup, each)
    print("\n".join([*head(rows, options, bool(options.images)), ""]))
    print(table(rows))
    ours = [name for name, one in chosen.items() if _compared(one)]
    if more := gains(rows, ours):
        print(f"\n{more}")
    failed = [row for row in rows if row["error"]]
    return Exit.SOME if failed else Exit.DONE


def _compared(method: bench.Method) -> bool:
    """Whether it is ours and held against others: learned ones, and the default of denoise."""
    known = method.name in methods.available(method.stage)
    default = config.section("denoise", {})["method"]
    return known and (method.name == default or methods.learned(method.stage, method.name))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-restore", description=__doc__)
    parser.add_argument("images", nargs="*", type=Path, help="sharp images; else the phantom")
    parser.add_argument("--noise", nargs="*", type=float, default=[3, 5, 9], help="percent")
    parser.add_argument("--thickness", nargs="*", type=float, default=[3, 5], help="mm")
    parser.add_argument("--axis", choices="xyz", default="z", help="normal of the thick slices")
    parser.add_argument("--profile", choices=("box", "gaussian", "rf"), default="box")
    parser.add_argument("--methods", default="", help="names, comma between; else all")
    parser.add_argument("--model", nargs=2, action="append", default=[], type=str,
                        metavar=("METHOD", "BUNDLE"), help="in place of what ships")  # fmt: skip
    parser.add_argument("--segment", action="store_true", help="compare segmentations too (slow)")
    parser.add_argument("--phantoms", type=int, default=3)
    parser.add_argument("--contrast", choices=("T1w", "T2w", "FLAIR"), default="T1w",
                        help="of the phantom")  # fmt: skip
    parser.add_argument("--guide", default="", metavar="SUFFIX",
                        help="contrast beside each image, for the method guided")  # fmt: skip
    parser.add_argument("--peers", type=Path, default=Path("build/bench-restore-peers/bin/python"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/bench-restore.tsv"))
    found = parser.parse_args(argv)
    found.model = [(method, Path(folder)) for method, folder in found.model]
    return found


def head(rows: Sequence[Mapping[str, Any]], options: Any, real: bool) -> list[str]:
    """What the numbers rest on, for above the table."""
    count = len({row["case"] for row in rows})
    versions = ", ".join(dict.fromkeys(str(row["version"]) for row in rows if row["version"]))
    kind = "images of the user" if real else "phantom subjects, free of noise"
    return [
        f"{count} {kind}; {options.cores} cores ({platform.machine()}, {platform.system()}); "
        f"{versions}.",
        f"Noise (Rician, percent of the range) and slices along {options.axis} (profile "
        f"{options.profile}, no gap) are simulated; each is judged inside the brain or head.",
        "BM4D is told the true noise and gets it made Gaussian; all others estimate it themselves.",
        "Seconds are of one image, without the libraries and weights that a batch loads once.",
        "Mean ± half of its 95 % interval over images.",
    ]


def _progress(row: Mapping[str, Any]) -> str:
    label = f"{row['case']} {row['task']} {row['method']}"
    return f"{label}: {row['error']}" if row.get("error") else f"{label}: {row['psnr']:.2f} dB"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
