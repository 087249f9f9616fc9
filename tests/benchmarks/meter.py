"""Jobs of the benchmark's processes, and what they cost. Standard library only: peers import it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Variables that the libraries of all methods take their number of threads from.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "VOXELWAY_THREADS",
)


def environment(cores: int) -> dict[str, str]:
    """Variables of a process that may use ``cores`` threads."""
    return {**os.environ, **dict.fromkeys(THREADS, str(cores))}


def pin(cores: int) -> None:
    """Keep this process on the first ``cores`` processors, so that all methods have the same."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def peak_mb() -> float:
    """Largest resident memory of this process, MB.

    Linux carries ``ru_maxrss`` over from the process that started this one; ``VmHWM`` is its own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def job() -> dict[str, Any]:
    """The job that the command line names; pins the process to its cores."""
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    pin(int(found["cores"]))
    return found


def account(folder: Path, seconds: float, version: str) -> None:
    """Write what a job cost, last of all: a job without it has failed."""
    content = {"seconds": seconds, "peak_mb": peak_mb(), "version": version}
    (folder / "cost.json").write_text(json.dumps(content), encoding="utf-8")
