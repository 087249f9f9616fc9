"""One run at a time on a results folder; what a dead run left running is ended first.

Snakemake's own lock is a file that outlives a killed process and then has to be removed by hand.
This one is held by the process: when that ends, however it ends, the lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.paths import Results

#: Tells the processes of a run, and those that they start, which results they work on.
MARK = "VOXELWAY_RUN"
#: Tells a run that it was started anew.
AGAIN = "VOXELWAY_AGAIN"
#: Seconds that a process has to end after it was asked to.
PATIENCE = 20.0
#: Folders of the results that are no unit's: a unit's stage clears up in its own before it works.
SHARED = ("evaluate", "qc", "derivatives/*", "models/*", "models/*/*")
_RUN_ID = re.compile(r"SLURM run ID: (\S+)")
_held: list[IO[str]] = []


def begin(results: Results, logs: Sequence[str]) -> int:
    """Hold the results folder until this process ends, and clear up after a run that was killed.

    Args:
        results: the results folder.
        logs: Snakemake's log files of this run; they name the run's jobs on a cluster.

    Returns:
        How many jobs of the run before were still at work, and were ended.

    Raises:
        VoxelwayError: E-RUNNING when another run holds the folder, E-DIR-WRITE.
    """
    before = _hold(results)
    mark = str(results.root.resolve())
    ended = end_processes(mark) + sum(map(cancel_jobs, map(Path, before.get("logs", []))))
    if ended:
        print(f"Ended {ended} jobs that a killed run had left", file=sys.stderr)
    shared = [folder for pattern in SHARED for folder in results.root.glob(pattern)]
    for folder in (results.root, *shared, results.private, results.private / "units"):
        files.sweep(folder)
    os.environ[MARK] = mark
    paths = [str(Path(path).resolve()) for path in logs]
    now = {"host": socket.gethostname(), "process": os.getpid(), "logs": paths}
    _held[0].seek(0)
    _held[0].truncate()
    _held[0].write(json.dumps(now))
    _held[0].flush()
    return ended


def again() -> None:
    """Start this command anew, once: what was planned rests on files that ended jobs took away."""
    if AGAIN in os.environ:
        return
    os.environ[AGAIN] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    # files of Python are closed by it, the lock among them
    os.execv(sys.executable, sys.orig_argv)


def _hold(results: Results) -> dict[str, Any]:
    """Take the lock; what the holder before wrote into it."""
    path = results.private / "run.lock"
    try:
        results.private.mkdir(parents=True, exist_ok=True)
        results.private.chmod(0o700)
        handle = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise VoxelwayError("E-DIR-WRITE", str(error.strerror), where=str(path)) from error
    handle.seek(0)
    try:
        told = json.loads(handle.read() or "{}")
    except ValueError:
        told = {}
    before = told if isinstance(told, dict) else {}
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = f"process {before.get('process', '?')} on {before.get('host', '?')}"
        what = f"Another run works on these results: {who}"
        hint = "Wait until it has ended, or end it"
        raise VoxelwayError("E-RUNNING", what, where=str(results.root), hint=hint) from error
    except OSError as error:  # a file system without locks
        print(f"warning: {path} can't be locked ({error.strerror})", file=sys.stderr)
    _held.append(handle)
    return before


def end_processes(mark: str) -> int:
    """End the processes on this machine that a run on these results left; how many there were."""
    found = [process for process in psutil.process_iter() if _marked(process, mark)]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    for process in psutil.wait_procs(found, PATIENCE)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(found)


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def cancel_jobs(log: Path) -> int:
    """Cancel the Slurm jobs of the run that wrote this log, and wait until they are gone."""
    found = _RUN_ID.search(log.read_text(errors="replace")) if log.is_file() else None
    if found is None or shutil.which("squeue") is None:
        return 0
    name = found[1]
    count = len(_queued(name))
    if count:
        subprocess.run(["scancel", "--name", name], check=False)
    deadline = time.monotonic() + 3 * PATIENCE
    while _queued(name) and time.monotonic() < deadline:
        time.sleep(0.5)
    return count


def _queued(name: str) -> list[str]:
    asked = ["squeue", "--noheader", "--name", name, "--format", "%i"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.split()
