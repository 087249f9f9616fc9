"""`python -m tests.benchmarks.scale [SUBJECTS ...]`: what the engine costs, without any computing.

For each number of subjects it makes a cohort with the real rules, and prints what planning it,
running it with jobs that end at once, and finding nothing to do costs, beside a bare Snakemake
workflow of as many jobs in the same run. Processor seconds are what counts on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.scale import bare, simulated
from tests.benchmarks.scale.measure import Cost, call

HEAD = ("subjects", "what", "seconds", "CPU s", "peak MB", "to bare (CPU)")
#: Every stage that may, several subjects a job.
SHARDED = "shards: {denoise: 8, superres: 8, register: 8, synthesize: 8, segment: 8}\n"
NOTHING = "Nothing to be done"


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", type=int, default=[1000])
    parser.add_argument("--plan", action="store_true", help="only parse and dry run")
    parser.add_argument("--repeat", type=int, default=1, help="of parsing and the dry run")
    options = parser.parse_args()
    print("load at the start: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    print("\t".join(HEAD), flush=True)
    for subjects in options.subjects:
        root = Path(tempfile.mkdtemp(prefix="voxelway-scale-"))
        try:
            for line in measured(root, subjects, repeat=options.repeat, plan=options.plan):
                print(line, flush=True)
        finally:
            shutil.rmtree(root, ignore_errors=True)
    print("load at the end: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    return 0


def measured(root: Path, subjects: int, *, repeat: int, plan: bool) -> Iterator[str]:
    """Lines of the table for one number of subjects."""
    cohort = simulated.build(root / "voxelway", subjects)
    bare.write(root / "bare", cohort.subjects)

    def both(what: str, ours: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[str]:
        for _ in range(repeat):
            mine = cohort.snakemake(*simulated.LOCAL, *ours)
            other = _bare(root / "bare", *theirs)
            yield _line(subjects, what, mine, mine.cpu / other.cpu)
            yield _line(subjects, f"{what}, bare", other)

    yield from both("parse (--list)", ("--list",), ("--list",))
    yield from both("dry run", ("--dry-run",), ("--dry-run",))
    if plan:
        return
    cost, jobs = cohort.finish()
    yield _line(subjects, "run, jobs that end at once", cost)
    yield _jobs(subjects, "jobs sent to a cluster", jobs)
    yield f"{subjects}\tfiles of Snakemake\t{cohort.files_of_snakemake()}"
    yield f"{subjects}\tfiles of the results, no images\t{cohort.files_of_results()}"
    nothing = cohort.snakemake(*simulated.LOCAL, "--dry-run")
    if NOTHING not in nothing.text:
        raise RuntimeError(nothing.text[-3000:])
    yield _line(subjects, "nothing to do", nothing)
    sharded = simulated.build(root / "sharded", subjects, SHARDED)
    yield _jobs(subjects, "jobs sent to a cluster, eight subjects a job", sharded.finish()[1])


def _bare(folder: Path, *arguments: str) -> Cost:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return call(command, folder, os.environ)


def _line(subjects: int, what: str, cost: Cost, ratio: float | None = None) -> str:
    if cost.code:
        raise RuntimeError(cost.text[-3000:])
    last = "" if ratio is None else f"{ratio:.2f}"
    cells = (f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.peak_mb:.0f}", last)
    return "\t".join((str(subjects), what, *cells)).rstrip()


def _jobs(subjects: int, what: str, jobs: Counter[str]) -> str:
    told = ", ".join(f"{count} {rules}" for rules, count in sorted(jobs.items()))
    return f"{subjects}\t{what}\t{sum(jobs.values())} ({told})"


if __name__ == "__main__":
    sys.exit(main())
