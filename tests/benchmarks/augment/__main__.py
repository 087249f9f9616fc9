"""Command line of the benchmark; see `make bench-augment`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.errors import Exit, VoxelwayError
from tests.benchmarks.augment import arms, bench
from tests.benchmarks.augment.table import table
from tests.benchmarks.segment import cases


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run what the table lacks, then print it."""
    options = _arguments(argv)
    chosen = options.arms.split(",")
    strange = sorted(set(chosen) - set(arms.ARMS))
    if strange:
        raise VoxelwayError(
            "E-USAGE", f"No arm {strange[0]}", hint=f"Known: {', '.join(arms.ARMS)}"
        )
    found = cases.read(options.data)
    splits = {
        size: arms.split(found, size, options.cases, options.scans, 0)
        for size in (int(text) for text in options.sizes.split(","))
    }
    setup = bench.Setup(
        options.config, options.steps,
        {"gan": options.gan_steps, "one_shot": options.one_shot_steps},
        yaml.safe_load(options.learning), yaml.safe_load(options.augmentation),
        options.out.parent / "bench-augment", options.out,
    )  # fmt: skip
    setup.work.mkdir(parents=True, exist_ok=True)
    rows = bench.run(splits, chosen, range(options.seeds), setup, _told)
    print(table(rows))
    return Exit.DONE


def _told(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-augment", description=__doc__)
    parser.add_argument("data", type=Path, help="images/ and labels/")
    parser.add_argument("--config", type=Path, required=True, help="of the segmenter")
    parser.add_argument("--sizes", default="5,10,20", help="labelled cases, comma between")
    parser.add_argument("--arms", default=",".join(arms.ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", type=int, default=50, help="to test on")
    parser.add_argument("--scans", type=int, default=40, help="without labels, at most")
    parser.add_argument("--steps", type=int, default=1000, help="of a segmenter")
    parser.add_argument("--gan-steps", type=int, default=1000)
    parser.add_argument("--one-shot-steps", type=int, default=1000)
    parser.add_argument("--learning", default="{}", help="changes of segment.learning, YAML")
    parser.add_argument("--augmentation", default="{}", help="of synthesize.augmentation, YAML")
    parser.add_argument("--out", type=Path, default=Path("build/bench-augment.tsv"))
    return parser.parse_args(argv)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit)
