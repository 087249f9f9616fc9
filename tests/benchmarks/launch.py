"""Starts one method of a benchmark in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import meter

ROOT = Path(__file__).parents[2]
#: Seconds after which a method has failed.
TIMEOUT = 7200.0
#: Our methods work on several parts of an image at a time, each with one thread of linear algebra.
ONE_EACH = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class JobError(RuntimeError):
    """A method failed; the others go on."""


def environment(cores: int, *, ours: bool) -> dict[str, str]:
    """Variables of a process that may use ``cores`` threads, ours as `voxelway` sets them."""
    return meter.environment(cores) | (ONE_EACH if ours else {})


def run(
    benchmark: str, content: Mapping[str, Any], out: Path, peers: Path | None
) -> dict[str, Any]:
    """Run one process.

    Args:
        benchmark: folder of the benchmark, whose module ``ours`` or ``peers`` is run.
        content: of its job, with ``cores``.
        out: folder for what it writes, made anew.
        peers: Python of the peers' environment; None for a method of ours.

    Returns:
        What the process wrote into cost.json.

    Raises:
        JobError: when it failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    path = (out / "job.json").resolve()
    path.write_text(json.dumps({**content, "out": str(out.resolve())}), encoding="utf-8")
    # the path as given: a virtual environment's Python is a link that must not be followed
    python = sys.executable if peers is None else str(peers.absolute())
    module = f"tests.benchmarks.{benchmark}.{'ours' if peers is None else 'peers'}"
    try:
        done = subprocess.run(
            [python, "-m", module, str(path)], cwd=ROOT, capture_output=True, text=True,
            env=environment(int(content["cores"]), ours=peers is None), timeout=TIMEOUT,
            check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        raise JobError(str(error)) from error
    cost = out / "cost.json"
    if done.returncode or not cost.is_file():
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise JobError(f"exit status {done.returncode}: {(last or ['no message'])[0][:300]}")
    found: dict[str, Any] = json.loads(cost.read_text(encoding="utf-8"))
    return found
