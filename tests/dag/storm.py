"""What tests of faults share: what stands in a results folder, and processes to be killed."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import psutil

from .conftest import Project, make

#: Entries that tell when, how fast or by which process something was made.
VOLATILE = frozenset({"seconds", "Seconds", "PeakMemoryMB", "Date", "GeneratedOn"})
#: Folders and files that tell of a run, not of the subjects.
OF_RUNS = ("logs/", "benchmarks/")


def with_workers(root: Path) -> Project:
    """Two subjects, and stages that write images through the real runner."""
    project = make(root)
    script = Path(__file__).with_name("worker.py")
    # the copy's own modules come first
    start = f'PYTHONPATH="$PYTHONPATH:{script.parents[2]}" exec "{sys.executable}" "{script}" "$@"'
    (root / "bin" / "voxelway").write_text(f"#!/bin/sh\n{start}\n")
    return project


def contents(root: Path) -> dict[str, str]:
    """Path below a results folder → digest of what it holds, less the time that it took."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(OF_RUNS):
            found[name] = hashlib.sha256(_steady(path)).hexdigest()
    return found


def _steady(path: Path) -> bytes:
    """The bytes of a file without what varies from run to run."""
    content = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without(json.loads(content)), sort_keys=True).encode()
    if path.name == "status.tsv":
        return b"\n".join(line.rpartition(b"\t")[0] for line in content.splitlines())
    if path.name.endswith("metrics.tsv"):
        return b"\n".join(line for line in content.splitlines() if b"\tseconds\t" not in line)
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _without(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without(value) for key, value in content.items() if key not in VOLATILE}
    if isinstance(content, list):
        return [_without(value) for value in content]
    return content


def half_written(root: Path) -> list[str]:
    """Names of temporary files that were left behind."""
    return [str(path.relative_to(root)) for path in root.rglob(".part-*")]


def family(process: int) -> list[psutil.Process]:
    """A process and all that it started, itself first; empty when it has ended."""
    try:
        parent = psutil.Process(process)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
