"""``python -m tests.benchmarks.index FOLDER [SUBJECTS [SLICES]]``: cost of the index.

Writes a made-up cohort as DICOM files of a few pixels, T1w and T2w of each subject, some with a
localizer and some sent twice, and indexes it three times: everything new, nothing new, one subject
new. Prints a Markdown table: seconds, files an hour, and the largest memory of the process that
indexes and of its readers together.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

SIDE = 16
KINDS = {
    "t1_mprage": {"RepetitionTime": 2000, "EchoTime": 3, "InversionTime": 900},
    "t2_tse": {"RepetitionTime": 5000, "EchoTime": 95, "InversionTime": None},
}


#: Stand in the template for what differs between files; the same length as what takes their place.
SUBJECT, SLICE = "777777", "88888"


@cache
def template(kind: str) -> bytes:
    """A slice with the attributes that a scanner's images have."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage
    study = f"1.2.826.0.1.1{SUBJECT}"
    series = f"{study}.{list(KINDS).index(kind) + 1}"
    made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": MRImageStorage, "SOPInstanceUID": f"{series}.1{SLICE}",
        "StudyDate": "20240101", "SeriesDate": "20240101",
        "SeriesTime": "101500", "Modality": "MR", "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"], "SeriesDescription": kind,
        "ProtocolName": kind, "MRAcquisitionType": "3D", "ScanningSequence": ["GR", "IR"],
        "FlipAngle": 9, "MagneticFieldStrength": 3, "SliceThickness": 1,
        "PatientID": f"MADE{SUBJECT}", "StudyInstanceUID": study, "SeriesInstanceUID": series,
        "FrameOfReferenceUID": series, "InstanceNumber": SLICE,
        "ImagePositionPatient": ["-8", "-8", f"{SLICE}.0"],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1.0, 1.0],
        "PatientName": "Made^Up", "InstitutionName": "Nowhere", "StationName": "MR1",
        "Rows": SIDE, "Columns": SIDE, "SamplesPerPixel": 1, "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2", "PatientPosition": "HFS", **KINDS[kind],
    }  # fmt: skip
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.PixelData = np.arange(SIDE * SIDE, dtype=np.uint16).tobytes()
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


def write_subject(folder: Path, number: int, slices: int) -> int:
    """Write the files of one subject; their number."""
    count = 0
    for kind in KINDS:
        made = template(kind).replace(SUBJECT.encode(), b"%06d" % number)
        target = folder / f"{number % 100:02d}" / f"{number:06d}" / kind
        target.mkdir(parents=True)
        for n in range(1, slices + 1):
            (target / f"IM{n:05d}").write_bytes(made.replace(SLICE.encode(), b"%05d" % n))
            count += 1
    if number % 50 == 0:
        # sent twice
        shutil.copytree(target, target.with_name("again"))
        count += slices
    return count


def index(dicom: Path, results: Path) -> tuple[float, float]:
    """Seconds, and megabytes at most (proportional set size, shared memory counted once)."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "index", str(dicom), str(results)]
    with subprocess.Popen(command, start_new_session=True) as running:
        most = [0.0]
        watch = threading.Thread(target=_watch, args=(running, most))
        watch.start()
        if running.wait():
            raise SystemExit(f"the index ended with {running.returncode}")
        watch.join()
    return time.perf_counter() - started, most[0]


def _watch(running: subprocess.Popen[bytes], most: list[float]) -> None:
    while running.poll() is None:
        most[0] = max(most[0], sum(map(_megabytes, _session(running.pid))))
        time.sleep(0.25)


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main(folder: Path, subjects: int, slices: int) -> None:
    """Print one line an index."""
    dicom, results = folder / "dicom", folder / "results"
    count = sum(write_subject(dicom, number, slices) for number in range(subjects))
    cores = len(os.sched_getaffinity(0))
    print(f"{subjects} subjects, {count} files, {cores} cores\n")
    print("| index | files | s | files an hour | memory, MB | headers kept, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("all new", "nothing new", "one subject new"):
        if name == "one subject new":
            count += write_subject(dicom, subjects, slices)
        seconds, memory = index(dicom, results)
        kept = (folder / "results-private" / "headers.sqlite").stat().st_size / 1e6
        rate = count / seconds * 3600
        print(f"| {name} | {count} | {seconds:.1f} | {rate:.3g} | {memory:.0f} | {kept:.0f} |")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    main(Path(sys.argv[1]), *(numbers + [1000, 20][len(numbers) :]))
