"""Notices new DICOM without walking the tree: the folders known to the index are looked at.

The index writes down every folder that it read, with its age. A folder's age changes when a file
or a folder appears in it or leaves it. A file that is changed in place goes unnoticed; run
`voxelway index` for that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pipeline import files
from pipeline.paths import Results


def changed(known: Mapping[str, int], dicom: Path) -> bool:
    """Whether any folder known to the index changed, or another DICOM folder is asked for."""
    if str(dicom.resolve()) not in known:
        return True
    return any(_age(folder) != age for folder, age in known.items())


def _age(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  (thousands of calls at parse time)
    except OSError:
        return -1


def ledger(results: Results) -> Path:
    """The index's list of folders, input of the rule `index`."""
    return results.private / "dirs.json"


def refresh(results: Results, dicom: Path) -> None:
    """Mark the ledger as out of date when DICOM came or went, so that the index runs again."""
    path = ledger(results)
    known: dict[str, int] = {}
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
        if "stale" in content:
            return
        known = content
    if changed(known, dicom):
        results.private.mkdir(parents=True, exist_ok=True)
        results.private.chmod(0o700)
        files.write_json(path, {"stale": len(known)})
