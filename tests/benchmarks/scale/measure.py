"""What one call of Snakemake costs: seconds, processor seconds, memory, and what it said."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """One call.

    Attributes:
        seconds: by the clock on the wall; other work on the machine makes them more.
        cpu: processor seconds, user and system, of the process and its children.
        peak_mb: largest resident memory of one of them, MB.
        text: standard output and error.
        code: exit status.
    """

    seconds: float
    cpu: float
    peak_mb: float
    text: str
    code: int


def call(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Cost:
    """Run a command and measure it alone."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command), cwd=folder, env=dict(variables), stdout=said, stderr=subprocess.STDOUT
        )
        _, state, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(state)
        said.seek(0)
        text = said.read()
    return Cost(seconds, used.ru_utime + used.ru_stime, _mb(used), text, process.returncode)


def _mb(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
