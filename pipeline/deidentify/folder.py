"""``voxelway deidentify``: a folder of DICOM in, a folder that may leave out."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pipeline import files
from pipeline.deidentify import gate
from pipeline.deidentify.gate import Refused
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest.headers import Header, Reject, read_header
from pipeline.ingest.identity import (
    instance_label,
    make_key,
    pseudonym,
    read_key_file,
    series_label,
)
from pipeline.ingest.walk import Walk
from pipeline.paths import Results
from pipeline.progress import shown

QUARANTINE = ("code", "message", "subject", "series", "files")
#: Below so many files, starting processes takes longer than the work.
WORTH_PROCESSES = 200
MOST_PROCESSES = 16

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Job:
    """One file: where it is, where its de-identified copy goes, whose it is."""

    source: str
    target: str
    patient_id: str
    subject: str
    series: str


def deidentify_folder(
    dicom: Path, out_dir: Path, params: Mapping[str, Any], key_file: Path | None = None
) -> int:
    """De-identify every image of a folder.

    Args:
        dicom: folder of any depth; it is only read.
        out_dir: gets SUBJECT/SERIES/INSTANCE.dcm, all three hashed, and quarantine.tsv.
        params: the section ``deidentify`` of the configuration.
        key_file: key of the pseudonyms; None makes or takes OUT_DIR-private/pseudonym.key. With
            the key of a results folder, the pseudonyms and UIDs are those of the results.

    Returns:
        0 when every DICOM object was written, 5 when some were refused, 3 when all were.

    Raises:
        VoxelwayError: E-DCM-FOLDER, E-CONFIG-PATH, E-FILE-READ (the key), E-DIR-WRITE, E-DISK-FULL.
    """
    place = Results(out_dir)
    if dicom.resolve() == out_dir.resolve():
        raise VoxelwayError("E-CONFIG-PATH", "OUT_DIR is the folder that is read", where=str(dicom))
    paths = sorted(item.path for item in Walk(dicom, (place.root, place.private)).files())
    if key_file is None and place.quarantine.is_file():
        key = read_key_file(place.private / "pseudonym.key")
    else:
        key = make_key(place) if key_file is None else read_key_file(key_file)
    found = list(_spread(read_header, paths, "headers"))
    headers = [item for item in found if isinstance(item, Header)]
    refused = [gate.unread(item, key) for item in found if isinstance(item, Reject)]
    taken, not_taken = gate.judge(headers, key)
    jobs = [_job(header, key, out_dir) for header in taken]
    work = partial(_work, key=key, params=dict(params))
    outcomes = _spread(work, jobs, "deidentify")
    failed = [item for item in outcomes if item is not None]
    return _finish(place, jobs, [*refused, *not_taken, *failed])


def _job(header: Header, key: bytes, out_dir: Path) -> Job:
    subject = pseudonym(key, header.common.patient_id)
    series = series_label(key, header.common.series_uid)
    name = instance_label(key, header.sop_uid) + ".dcm"
    target = out_dir / subject / series / name
    return Job(header.path, str(target), header.common.patient_id, subject, series)


def _work(job: Job, key: bytes, params: Mapping[str, Any]) -> Refused | None:
    """De-identify one file; None when it was written.

    Raises:
        VoxelwayError: E-DISK-FULL, E-DIR-WRITE, which would stop the other files as well.
    """
    from pipeline.deidentify.file import write_deidentified

    try:
        write_deidentified(job.source, Path(job.target), job.patient_id, key, params)
    except VoxelwayError as error:
        if error.exit == Exit.OUTSIDE:
            raise
        return Refused(error.code, error.what, job.subject, job.series, job.source)
    return None


def _finish(place: Results, jobs: Sequence[Job], refused: Sequence[Refused]) -> int:
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for item in refused:
        groups.setdefault((item.subject, item.series, item.code, item.message), []).append(
            item.path
        )
    rows = [
        {"code": code, "message": message, "subject": subject, "series": series, "files": len(n)}
        for (subject, series, code, message), n in sorted(groups.items())
    ]
    files.write_tsv(place.quarantine, QUARANTINE, rows)
    _write_private(place, jobs, refused)
    lost = {item.path for item in refused}
    written = sum(job.source not in lost for job in jobs)
    counts = Counter(item.code for item in refused)
    print(f"{written} files written", file=sys.stderr)
    if counts:
        told = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        print(f"not written: {told}; {place.quarantine.name} tells why", file=sys.stderr)
    # what is no DICOM is nobody's loss
    if all(code == "D-NOT-DICOM" for code in counts):
        return Exit.DONE if written else Exit.REFUSED
    return Exit.SOME if written else Exit.REFUSED


def _write_private(place: Results, jobs: Sequence[Job], refused: Sequence[Refused]) -> None:
    """Which file became which, for those who may know: paths hold names."""
    from pipeline.ingest.identity import private_folder

    private_folder(place.private)
    left = {item.path: item.code for item in refused}
    targets = {job.source: Path(job.target).relative_to(place.root).as_posix() for job in jobs}
    content = {source: target for source, target in targets.items() if source not in left}
    files.write_json(place.private / "deidentified.json", {"written": content, "left": left})


def _spread(function: Callable[[_T], _R], items: Sequence[_T], name: str) -> Iterator[_R]:
    """Apply a function to all items, in order, on the cores that we may use."""
    workers = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    if workers < 2 or len(items) < WORTH_PROCESSES:
        yield from shown(map(function, items), len(items), name, unit="file")
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        done = pool.map(function, items, chunksize=16)
        yield from shown(done, len(items), name, unit="file")
