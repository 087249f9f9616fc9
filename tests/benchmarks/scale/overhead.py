"""`python -m tests.benchmarks.scale.overhead [SESSIONS ...]`: what the DAG adds to the work itself.

The demo cohort runs once for each number of sessions a job (``shards``; 0: the default), into
results of its own. The work is what the stages say they took, and what whole jobs took that no
session has (index, template, training, the cohort's page). With C jobs side by side nothing can end
before work / C; the overhead is the wall time by that.
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

from pipeline import runner
from pipeline.paths import Results
from pipeline.status import COLUMNS
from tests.benchmarks.scale.measure import Cost, call

ROOT = Path(__file__).parents[3]
ON_SHARDS = ("denoise", "superres", "register", "synthesize", "segment")
HEAD = ("shards", "jobs", "wall s", "work s", "overhead", "models loaded", "jobs that load")


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="*", type=int, default=[0, 3])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--work", type=Path, help="keep the results here")
    options = parser.parse_args()
    print("load at the start: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    root = options.work or Path(tempfile.mkdtemp(prefix="voxelway-overhead-"))
    try:
        _checked(call([*_python("pipeline.cli"), "phantom", str(root)], ROOT, os.environ))
        print("\t".join(HEAD), flush=True)
        for size in options.shards:
            print("\t".join(measured(root, size, options.cores)), flush=True)
    finally:
        if options.work is None:
            shutil.rmtree(root, ignore_errors=True)
    return 0


def measured(root: Path, size: int, cores: int) -> Iterator[str]:
    """One line of the table, by columns."""
    results = Results(root / f"results-{size}")
    settings = root / f"shards-{size}.yaml"
    settings.write_text(
        f"dicom: {root / 'dicom'}\nresults: {results.root}\nevaluate: {{truth: {root / 'truth'}}}\n"
        "shards: {" + ", ".join(f"{stage}: {size}" for stage in ON_SHARDS) + "}\n"
    )
    command = [*_python("snakemake"), "--profile", "local", "--cores", str(cores)]
    cost = _checked(call([*command, "--configfile", str(settings)], ROOT, _path()))
    work = sum(seconds_of_sessions(results)) + sum(seconds_of_whole_jobs(results))
    loads = loads_of_models(results)
    yield str(size)
    yield str(sum(1 for line in cost.text.splitlines() if line.startswith("Finished jobid")))
    yield f"{cost.seconds:.0f}"
    yield f"{work:.0f}"
    yield f"{cost.seconds * cores / work:.2f}"
    yield str(loads.total())
    yield str(len(loads))


def seconds_of_sessions(results: Results) -> Iterator[float]:
    """What each session's stages took, without the start of their process."""
    with (results.root / "status.tsv").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            row = dict(zip(COLUMNS, line.rstrip("\n").split("\t"), strict=True))
            yield float(row["seconds"])


def seconds_of_whole_jobs(results: Results) -> Iterator[float]:
    """What jobs took that belong to no session."""
    for table in results.root.glob("benchmarks/*/all.tsv"):
        yield float(table.read_text(encoding="utf-8").splitlines()[1].split("\t")[0])


def loads_of_models(results: Results) -> Counter[Path]:
    """Log of a job → how often it loaded a model."""
    found: Counter[Path] = Counter()
    for log in results.root.glob("logs/*/*.log"):
        times = log.read_text(encoding="utf-8").count(runner.MODEL_LOADED)
        if times:
            found[log] = times
    return found


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _path() -> dict[str, str]:
    """The rules call `voxelway`, which stands beside this Python."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _checked(cost: Cost) -> Cost:
    if cost.code:
        raise RuntimeError(cost.text[-3000:])
    return cost


if __name__ == "__main__":
    sys.exit(main())
