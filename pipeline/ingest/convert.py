"""One image through dcm2niix, the right one of its outputs chosen, its result checked."""

from __future__ import annotations

import re
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import geometry, tool
from pipeline.ingest.deflate import gzipped
from pipeline.ingest.rewrite import rewrite
from pipeline.ingest.source import Source
from pipeline.ingest.tool import Output

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
#: Degrees of tilt up to which a grid counts as right-angled.
TILT = 0.2


@dataclass(frozen=True)
class Converted:
    """A converted image.

    ``nifti`` holds the bytes of an uncompressed NIfTI-1 file without any text in its header.
    """

    nifti: bytearray
    facts: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Chosen:
    output: Output
    ignored: list[str]
    nifti: bytearray


def convert(source: Source, params: Mapping[str, Any], log: Path | None = None) -> Converted:
    """Convert the files of one image.

    Args:
        source: record of the index, its files no members of archives.
        params: ``check_slices``.
        log: private file for what dcm2niix said.

    Raises:
        VoxelwayError: D-UNREADABLE (a file vanished or changed), D-CONVERT (no or no fitting
            output), D-GEOMETRY (the output contradicts the headers), E-TOOL, E-DISK-FULL.
    """
    for item in source.files:
        item.check()
    chosen, said = _attempt(source, log)
    if chosen is None and not source.rewrite:
        source = replace(source, rewrite=True)
        chosen, said = _attempt(source, log)
    if chosen is None:
        what = f"dcm2niix made no image of {len(source.files)} files"
        raise VoxelwayError("D-CONVERT", what, hint=_HINT)
    suffix = chosen.output.resampled
    checked = geometry.check(chosen.nifti, source, suffix, int(params["check_slices"]))
    facts = {
        **_passed(chosen.output.sidecar),
        **source.facts,
        "ConversionSoftware": "dcm2niix",
        "ConversionSuffix": suffix,
        "ConversionOutput": chosen.output.suffix,
        "ConversionWarnings": tool.warnings(said),
        "ConversionIgnored": chosen.ignored,
        "ConversionDecoder": "pydicom" if source.rewrite else "dcm2niix",
        "Findings": [f"{code}: {text}" for code, text in source.findings],
        **checked,
    }
    told = [text for _, text in source.findings]
    told += [f"dcm2niix resampled the image ({suffix.strip('_')})"] if suffix else []
    return Converted(chosen.nifti, facts, told)


_HINT = "The private log of this series has what dcm2niix said"


def _attempt(source: Source, log: Path | None) -> tuple[_Chosen | None, str]:
    """Run dcm2niix in a temporary folder; None when it made nothing, and what it said."""
    with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
        folder = Path(name)
        _room(folder, source)
        place, out = _gather(source, folder), folder / "out"
        out.mkdir()
        mixed = any(code == "D-MIXED-ACQUISITION" for code, _ in source.findings)
        found, said = tool.run(place, out, signed=not _straight(source), merged=mixed)
        if log is not None:
            files.write_text(log, said)
        if not found:
            return None, said
        output, ignored = _choose(found, source)
        # the sidecar goes with the folder
        _ = output.sidecar
        return _Chosen(output, ignored, anonymous(_bytes(output.path))), said


def _room(folder: Path, source: Source) -> None:
    """dcm2niix does not tell a full disk from a bad series, so the room is looked at before."""
    grid = source.geometry
    needed = 4 * grid.rows * grid.columns * grid.slices * source.volumes + (1 << 20)
    needed += 2 * sum(item.size for item in source.files) if source.rewrite else 0
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
            rewrite(item.path, target)
        else:
            target.symlink_to(Path(item.path).resolve())
    return place


def _straight(source: Source) -> bool:
    """Whether the slices lie on a right-angled, evenly spaced grid."""
    return source.geometry.regular and source.geometry.tilt < TILT


def _choose(found: Sequence[Output], source: Source) -> tuple[Output, list[str]]:
    """The output to keep, and how the others were resampled."""
    if source.echo is not None and len(found) > 1:
        found = [item for item in found if item.has_echo(source.echo)] or found
    plain = [item for item in found if not item.resampled]
    if len(plain) > 1:
        what = f"dcm2niix made {len(plain)} images of {len(source.files)} files, one was expected"
        raise VoxelwayError("D-CONVERT", what, hint=_HINT)
    for suffix in ("",) if _straight(source) else tool.RESAMPLED:
        for item in found:
            if item.resampled == suffix:
                return item, _others(found, suffix)
    if plain and source.geometry.regular and source.geometry.tilt < 1.0:
        return plain[0], _others(found, "")
    what = "dcm2niix made no image with a right-angled, evenly spaced grid"
    raise VoxelwayError("D-CONVERT", what, hint=_HINT)


def _others(found: Sequence[Output], suffix: str) -> list[str]:
    return sorted({o.resampled or "as acquired" for o in found if o.resampled != suffix})


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


def _bytes(path: Path) -> bytearray:
    content = bytearray(path.stat().st_size)
    with path.open("rb") as stream:
        stream.readinto(content)
    return content


def anonymous(nifti: bytearray) -> bytearray:
    """Blank, in place, the texts of a NIfTI-1 header: dcm2niix writes times and comments there.

    Raises:
        VoxelwayError: D-CONVERT when it is no plain NIfTI-1 file.
    """
    sound = len(nifti) > 352 and struct.unpack("<i", nifti[:4])[0] == 348
    if not sound or nifti[344:347] != b"n+1" or any(nifti[348:352]):
        raise VoxelwayError("D-CONVERT", "dcm2niix wrote no plain NIfTI-1 file")
    # data_type and db_name; descrip and aux_file; intent_name
    for start, stop in ((4, 32), (148, 252), (328, 344)):
        nifti[start:stop] = bytes(stop - start)
    return nifti


def write_nifti(nifti: bytes | bytearray, path: Path, level: int) -> None:
    """Write compressed, whole, and the same bytes each time."""
    with files.atomic(path) as part, part.open("wb") as stream:
        for block in gzipped(nifti, level):
            stream.write(block)
