"""One series through dcm2niix, its log and suffixes read, its result checked.

dcm2niix: Li et al., J Neurosci Methods 264 (2016) 47-56, doi:10.1016/j.jneumeth.2016.03.001.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import files, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import geometry
from pipeline.ingest.index import QUARANTINE, Index, read_index
from pipeline.ingest.manifest import Row, read_manifest, units
from pipeline.ingest.source import Source
from pipeline.paths import Results

#: Seconds after which a conversion is given up.
PATIENCE = 1800
NAME = "image"
#: What dcm2niix is known to say, as a regular expression, and how it is told; the text itself may
#: quote the headers or a path and is kept in the private folder only.
KNOWN = {
    r"missing images|missing slices": "slices seem to be missing",
    r"interslice distance varies": "the distance between slices varies",
    r"gantry tilt": "the gantry was tilted",
    r"order is not spatial": "instance numbers do not follow the slices",
    r"unable to determine manufacturer": "the manufacturer is unknown",
    r"patient position .* not specified": "the patient's position is not given",
    r"empty protocol name": "the protocol has no name",
    r"duplicate": "files are there twice",
    r"unable to (decode|decompress)|unsupported transfer": "the pixels can't be decoded",
    r"slices not stacked": "some slices were not stacked with the others",
}
#: Suffixes that dcm2niix adds to resampled output, best first.
RESAMPLED = ("_Tilt_Eq", "_Tilt", "_Eq")
#: Facts of dcm2niix's sidecar that may pass: numbers, and codes of one form.
NUMBERS = {
    "EffectiveEchoSpacing", "TotalReadoutTime", "DwellTime", "SliceTiming", "PartialFourier",
    "ParallelReductionFactorInPlane", "PhaseEncodingSteps", "AcquisitionMatrixPE",
    "ReconMatrixPE", "PercentPhaseFOV", "PercentSampling", "BaseResolution", "EchoTime",
    "RepetitionTime", "InversionTime", "FlipAngle", "AcquisitionDuration", "SAR",
    "ImageOrientationPatientDICOM", "EchoNumber", "XRayExposure", "KVP",
}  # fmt: skip
CODES = {
    "PhaseEncodingDirection": re.compile(r"^[ijk]-?$"),
    "PhaseEncodingAxis": re.compile(r"^[ijk]$"),
    "InPlanePhaseEncodingDirectionDICOM": re.compile(r"^(ROW|COL)$"),
    "ConversionSoftwareVersion": re.compile(r"^v[0-9.]{1,14}$"),
}


@dataclass(frozen=True)
class Converted:
    """A converted image.

    ``nifti`` holds the bytes of an uncompressed NIfTI-1 file without any text in its header.
    """

    nifti: bytes
    facts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def convert(source: Source, params: Mapping[str, Any], log: Path | None = None) -> Converted:
    """Convert the files of one image.

    Args:
        source: record of the index.
        params: ``check_slices``.
        log: private file for what dcm2niix said.

    Raises:
        VoxelwayError: D-UNREADABLE (a file vanished or changed), D-CONVERT (no or no fitting
            output), D-GEOMETRY (the output contradicts the headers), E-TOOL, E-DISK-FULL.
    """
    for item in source.files:
        item.check()
    with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
        folder = Path(name)
        _room(folder, source)
        said = _run(_gather(source, folder), folder)
        if log is not None:
            files.write_text(log, said)
        path, suffix, ignored = _choose(folder, source)
        content = _sidecar(path, suffix)
        nifti = anonymous(path.read_bytes())
    checked = geometry.check(nifti, source, suffix, int(params["check_slices"]))
    warnings = _warnings(said)
    facts = {
        **_passed(content),
        **source.facts,
        "ConversionSoftware": "dcm2niix",
        "ConversionSuffix": suffix,
        "ConversionWarnings": warnings,
        "ConversionIgnored": ignored,
        "Findings": [f"{code}: {text}" for code, text in source.findings],
        **checked,
    }
    told = [text for _, text in source.findings]
    told += [f"dcm2niix resampled the image ({suffix.strip('_')})"] if suffix else []
    return Converted(nifti, facts, told)


def _room(folder: Path, source: Source) -> None:
    """dcm2niix does not tell a full disk from a bad series, so the room is looked at before."""
    grid = source.geometry
    needed = 4 * grid.rows * grid.columns * grid.slices + (1 << 20)
    needed += sum(item.size for item in source.files) if source.rewrite else 0
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"The temporary folder has {free >> 20} MB left, {(needed >> 20) + 1} MB are needed"
        hint = "Free some space there, or set TMPDIR to another folder"
        raise VoxelwayError("E-DISK-FULL", what, where=tempfile.gettempdir(), hint=hint)


def _gather(source: Source, folder: Path) -> Path:
    """A folder of links to just the files of one image; what dcm2niix can't read is rewritten."""
    place = folder / "dicom"
    place.mkdir()
    for n, item in enumerate(source.files):
        target = place / f"{n:06d}.dcm"
        if source.rewrite:
            _rewrite(item.path, target)
        else:
            target.symlink_to(Path(item.path).resolve())
    return place


def _rewrite(path: str, target: Path) -> None:
    """Write a file with preamble, meta header and uncompressed pixels."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    try:
        dataset = pydicom.dcmread(path, force=True)
        if not getattr(dataset, "file_meta", None):
            dataset.file_meta = pydicom.dataset.FileMetaDataset()
        meta = dataset.file_meta
        meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if "TransferSyntaxUID" in meta and meta.TransferSyntaxUID.is_encapsulated:
            dataset.decompress()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(target, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except Exception as error:
        what = f"A file could not be rewritten for dcm2niix ({type(error).__name__})"
        raise VoxelwayError("D-CONVERT", what) from error


def program() -> str:
    """Path of dcm2niix.

    Raises:
        VoxelwayError: E-TOOL when it is not installed.
    """
    import dcm2niix

    path = str(dcm2niix.bin)
    if not Path(path).is_file():
        hint = "Set up the environment again (make setup)"
        raise VoxelwayError("E-TOOL", "dcm2niix is missing", hint=hint)
    return path


def _run(dicom: Path, folder: Path) -> str:
    """Run dcm2niix without its defaults file; what it said, and its exit status."""
    out = folder / "out"
    out.mkdir()
    options = ["-g", "i", "-b", "y", "-ba", "y", "-z", "n", "-f", NAME, "-w", "2", "-d", "0"]
    command = [program(), *options, "-o", str(out), str(dicom)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=PATIENCE, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired as error:
        what = f"dcm2niix did not end within {PATIENCE} s"
        raise VoxelwayError("D-CONVERT", what) from error
    except OSError as error:
        raise VoxelwayError("E-TOOL", f"dcm2niix can't be run ({error.strerror})") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    return f"{said}exit status {done.returncode}\n"


def _choose(folder: Path, source: Source) -> tuple[Path, str, list[str]]:
    """The output to keep, the suffix that it has for being resampled, and what was ignored."""
    found = sorted((folder / "out").glob("*.nii"))
    if source.echo is not None and len(found) > 1:
        found = [path for path in found if _has_echo(path, source.echo)] or found
    plain = [path for path in found if not _resampled(path)]
    if not found or len(plain) > 1:
        what = f"dcm2niix made {len(plain)} images of {len(source.files)} files, one was expected"
        hint = "The private log of this series has what dcm2niix said"
        raise VoxelwayError("D-CONVERT", what, hint=hint)
    straight = source.geometry.regular and source.geometry.tilt < TILT
    wanted = ("",) if straight else RESAMPLED
    for suffix in wanted:
        for path in found:
            if _resampled(path) == suffix:
                return path, suffix, _others(found, suffix)
    if plain and source.geometry.regular and source.geometry.tilt < 1.0:
        return plain[0], "", _others(found, "")
    what = "dcm2niix made no image with a right-angled, evenly spaced grid"
    raise VoxelwayError("D-CONVERT", what)


def _others(found: list[Path], suffix: str) -> list[str]:
    return sorted(
        {_resampled(path) or "as acquired" for path in found if _resampled(path) != suffix}
    )


#: Degrees of tilt up to which a grid counts as right-angled.
TILT = 0.2


def _resampled(path: Path) -> str:
    match = re.search(r"(_Tilt)?(_Eq)?(_\d+)?$", path.stem.removeprefix(NAME))
    return (match.group(1) or "") + (match.group(2) or "") if match else ""


def _has_echo(path: Path, echo: float) -> bool:
    seconds = _json(path).get("EchoTime")
    return isinstance(seconds, int | float) and abs(seconds * 1000.0 - echo) < 0.5


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _sidecar(path: Path, suffix: str) -> dict[str, Any]:
    """dcm2niix writes one sidecar for an image and its resampled versions."""
    plain = path.with_name(path.name.replace(suffix, "")) if suffix else path
    plain = plain.with_name(re.sub(r"_\d+\.nii$", ".nii", plain.name)) if suffix else plain
    return _json(path) or _json(plain)


def _passed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of dcm2niix's sidecar that hold no text that a person typed."""
    numbers = {key: content[key] for key in NUMBERS & set(content) if _numeric(content[key])}
    codes = {
        key: content[key]
        for key, form in CODES.items()
        if isinstance(content.get(key), str) and form.match(content[key])
    }
    return {**numbers, **codes}


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(_numeric(item) for item in value)
    return isinstance(value, int | float)


def _warnings(said: str) -> list[str]:
    """What dcm2niix warned of, in known words; anything else is only counted."""
    lines = [line for line in said.splitlines() if re.match(r"(?i)\s*(warning|error)", line)]
    lines += [line for line in said.splitlines() if "Slices not stacked" in line]
    known, other = set(), 0
    for line in lines:
        hits = [words for form, words in KNOWN.items() if re.search(form, line, re.IGNORECASE)]
        known.update(hits)
        other += not hits
    return sorted(known) + ([f"{other} other messages"] if other else [])


def anonymous(nifti: bytes) -> bytes:
    """Blank the texts of a NIfTI-1 header: dcm2niix writes times and comments there.

    Raises:
        VoxelwayError: D-CONVERT when it is no plain NIfTI-1 file.
    """
    sound = len(nifti) > 352 and struct.unpack("<i", nifti[:4])[0] == 348
    if not sound or nifti[344:347] != b"n+1" or any(nifti[348:352]):
        raise VoxelwayError("D-CONVERT", "dcm2niix wrote no plain NIfTI-1 file")
    header = bytearray(nifti[:352])
    # data_type and db_name; descrip and aux_file; intent_name
    for start, stop in ((4, 32), (148, 252), (328, 344)):
        header[start:stop] = bytes(stop - start)
    return bytes(header) + nifti[352:]


def write_nifti(nifti: bytes, path: Path, level: int) -> None:
    """Write compressed, whole, and the same bytes each time."""
    with (
        files.atomic(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", level, raw, mtime=0) as stream,
    ):
        stream.write(nifti)


class Tree(Results):
    """A BIDS dataset that stands alone: what a results folder keeps in rawdata is at its root."""

    @property
    def rawdata(self) -> Path:
        """The BIDS dataset."""
        return self.root


def convert_folder(dicom: Path, out_dir: Path, params: Mapping[str, Any]) -> int:
    """Index, gate and convert a DICOM folder into a BIDS dataset of its own.

    Args:
        dicom: folder of any depth; it is only read.
        out_dir: BIDS dataset with quarantine.tsv; OUT_DIR-private beside it keeps the key.
        params: the section ``ingest`` of the configuration, and ``seed``.

    Returns:
        0 when every image was converted (localizers and the like are left out), 5 when some were
        refused, 3 when nothing could be converted.
    """
    from pipeline import runner
    from pipeline.ingest import stage

    tree = Tree(out_dir)
    index: Index = read_index(dicom, tree, params)
    rows = read_manifest(tree.manifest)
    code = runner.run_units(stage, units(rows), runner.Setup(tree, params))
    failed = _failures(tree, rows)
    if failed:
        files.write_tsv(tree.quarantine, QUARANTINE, [*failed, *files.read_tsv(tree.quarantine)])
    if len(failed) == len(rows):
        return Exit.REFUSED
    if code == Exit.DONE and (failed or any(not item.left_out for item in index.refusals)):
        print(f"some series were refused; {tree.quarantine} tells why", file=sys.stderr)
        return Exit.SOME
    return code


def _failures(tree: Tree, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of the quarantine for images that passed the gate and could not be converted."""
    failed = []
    for row in rows:
        if tree.image("ingest", row.unit, row.suffix).is_file():
            continue
        state = status.read(tree, row.unit, "ingest")
        said = [] if state is None else [*state.warnings, f": {state.code}: {state.message}"]
        texts = [text.partition(": ")[2] for text in said if text.startswith((row.suffix, ": "))]
        code, _, message = (texts or ["D-CONVERT: No image came out"])[0].partition(": ")
        failed.append(
            {
                "code": code,
                "message": f"{row.suffix}: {message}",
                "subject": row.subject,
                "series": row.series,
                "files": row.files,
            }
        )
    return failed
