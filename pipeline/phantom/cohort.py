"""``voxelway phantom``: writes the embedded cohort, DICOM and truth."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError, from_os_error
from pipeline.phantom import anatomy, export, identity, protocol, subject, truth
from pipeline.phantom.protocol import BROKEN, CONTRASTS
from pipeline.progress import shown

#: Raised when the same seed gives other voxels than before.
VERSION = 1
SPACING = (1.0, 6.0)
COLUMNS = ("patient_id", "folder", "lesion", "missing", "broken")
#: Processes side by side; below this spacing one, because each needs 3 GB.
WORKERS = 2
FINE_SPACING = 1.5


def write_cohort(output: Path, subjects: int, spacing: float, seed: int) -> None:
    """Write OUT/dicom, OUT/truth and OUT/phantom.json, all or nothing.

    A subject is the same whatever their number is. Two more subjects are broken, and must end in
    quarantine. A cohort that exists with the same parameters is left as it is.

    Args:
        output: folder, made where it does not exist; other content of it is not touched.
        subjects: number of whole subjects, at least 1.
        spacing: isotropic voxel of the T1w and in-plane voxel of the others, 1 to 6 mm.
        seed: decides everything that is drawn.

    Raises:
        VoxelwayError: E-USAGE for arguments out of range or a folder that holds another cohort.
    """
    parameters = _parameters(subjects, spacing, seed)
    if _exists(output, parameters):
        print(f"{output}: the cohort exists, nothing to do", file=sys.stderr)
        return
    folders = [f"P{number:03d}" for number in range(1, subjects + 1)] + list(BROKEN)
    with _temporary(output) as part:
        _write_all(folders, part, spacing, seed)
        rows = [_row(folder, seed) for folder in folders]
        files.write_tsv(part / "truth" / "participants.tsv", COLUMNS, rows)
        for name in ("dicom", "truth"):
            (part / name).rename(output / name)
    files.write_json(output / "phantom.json", parameters)


def write_subject(folder: str, output: Path, spacing: float, seed: int) -> None:
    """Write DICOM and truth of one subject below ``output``; broken ones have no truth."""
    plan = protocol.plan(folder, seed)
    made = subject.make(plan, anatomy.load(), spacing)
    export.write(made, output / "dicom" / identity.draw(folder, seed).patient_id)
    if not plan.broken:
        truth.write(made, output / "truth" / folder)


def _parameters(subjects: int, spacing: float, seed: int) -> dict[str, Any]:
    if subjects < 1 or subjects > 900:
        raise VoxelwayError("E-USAGE", f"--subjects {subjects}, expected 1 to 900")
    if not SPACING[0] <= spacing <= SPACING[1]:
        what = f"--spacing {spacing:g} mm, expected {SPACING[0]:g} to {SPACING[1]:g} mm"
        raise VoxelwayError("E-USAGE", what)
    if seed < 0:
        raise VoxelwayError("E-USAGE", f"--seed {seed}, expected a whole number from 0")
    return {"seed": seed, "spacing": spacing, "subjects": subjects, "version": VERSION}


def _exists(output: Path, parameters: dict[str, Any]) -> bool:
    """Whether the same cohort is there; refuse to mix it with anything else."""
    present = [name for name in ("dicom", "truth") if (output / name).exists()]
    if not present:
        return False
    marker = output / "phantom.json"
    found = files.read_json(marker) if marker.is_file() else None
    if found == parameters and len(present) == 2:
        return True
    known = json.dumps(found, sort_keys=True) if found else "no phantom.json"
    what = f"The folder holds {' and '.join(present)} of something else ({known})"
    hint = "Choose another folder, or remove these yourself; nothing is ever deleted"
    raise VoxelwayError("E-USAGE", what, where=str(output), hint=hint)


@contextmanager
def _temporary(output: Path) -> Iterator[Path]:
    """A folder inside ``output`` that goes away whatever happens."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-phantom-", dir=output))
        part.chmod(0o755)
    except OSError as error:
        raise from_os_error(error, str(output)) from error
    try:
        yield part
    except OSError as error:
        raise from_os_error(error, str(output)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_all(folders: list[str], part: Path, spacing: float, seed: int) -> None:
    (part / "truth").mkdir()
    workers = min(WORKERS if spacing >= FINE_SPACING else 1, os.cpu_count() or 1)
    jobs = [(folder, part, spacing, seed) for folder in folders]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start) as pool:
        futures = [pool.submit(write_subject, *job) for job in jobs]
        try:
            done = as_completed(futures)
            for future in shown(done, len(jobs), "phantom", unit="subject", pause=0):
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start() -> None:
    """One thread a process: two processes work side by side."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _row(folder: str, seed: int) -> dict[str, Any]:
    plan = protocol.plan(folder, seed)
    missing = [name for name in CONTRASTS if name not in plan.contrasts]
    return {
        "patient_id": identity.draw(folder, seed).patient_id,
        "folder": folder,
        "lesion": plan.lesion,
        "missing": ",".join(missing),
        "broken": plan.broken,
    }
