"""dcm2niix: run on a folder, its messages and the suffixes of its files read.

dcm2niix: Li et al., J Neurosci Methods 264 (2016) 47-56, doi:10.1016/j.jneumeth.2016.03.001.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError

#: Seconds after which a conversion is given up.
PATIENCE = 1800
NAME = "image"
#: What dcm2niix is known to say, as a regular expression, and how it is told; the text itself may
#: quote the headers or a path and is kept in the private folder only.
KNOWN = {
    r"missing images|missing slices": "slices seem to be missing",
    r"interslice distance varies|slices not equidistant": "the distance between slices varies",
    r"gantry tilt": "the gantry was tilted",
    r"order is not spatial": "instance numbers do not follow the slices",
    r"unable to determine manufacturer": "the manufacturer is unknown",
    r"patient position .* not specified": "the patient's position is not given",
    r"empty protocol name": "the protocol has no name",
    r"duplicate": "files are there twice",
    r"unable to (decode|decompress)|unsupported transfer": "the pixels can't be decoded",
    r"slices not stacked": "some slices were not stacked with the others",
    r"only able to (correct|make)": "the slices could not be resampled",
}
#: Parts that dcm2niix adds to the names of images that it resampled, best first.
RESAMPLED = ("_Tilt_Eq", "_Tilt", "_Eq")


@dataclass(frozen=True)
class Output:
    """One image that dcm2niix wrote."""

    path: Path

    @property
    def suffix(self) -> str:
        """What dcm2niix added to the name, such as ``_e2_ph`` or ``_Eq_1``; codes, no text."""
        return self.path.stem.removeprefix(NAME)

    @property
    def resampled(self) -> str:
        """``_Tilt``, ``_Eq``, ``_Tilt_Eq``, or empty for an image as it was acquired."""
        match = re.search(r"(_Tilt)?(_Eq)?(_\d+)?$", self.suffix)
        return (match.group(1) or "") + (match.group(2) or "") if match else ""

    @cached_property
    def sidecar(self) -> dict[str, Any]:
        """The JSON beside it; dcm2niix writes one for an image and its resampled versions."""
        plain = self.path.name
        if self.resampled:
            plain = re.sub(r"_\d+\.nii$", ".nii", plain.replace(self.resampled, ""))
        return _json(self.path) or _json(self.path.with_name(plain))

    def has_echo(self, milliseconds: float) -> bool:
        """Whether it is the image of this echo time."""
        seconds = self.sidecar.get("EchoTime")
        return isinstance(seconds, int | float) and abs(seconds * 1000.0 - milliseconds) < 0.5


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


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


def run(dicom: Path, out: Path, *, signed: bool, merged: bool) -> tuple[list[Output], str]:
    """Run dcm2niix without its defaults file.

    Args:
        dicom: folder with the files of one image.
        out: empty folder.
        signed: store unsigned values that fit as signed ones, the only kind that dcm2niix
            resamples; the values stay the same.
        merged: make one image of slices whose timings or angles differ.

    Returns:
        The images, and what it said with its exit status: only for the private folder.

    Raises:
        VoxelwayError: D-CONVERT when it does not end, E-TOOL when it can't be run.
    """
    options = ["-g", "i", "-b", "y", "-ba", "y", "-z", "n", "-f", NAME, "-w", "2", "-d", "0"]
    options += ["-l", "n"] if signed else []
    options += ["-m", "y"] if merged else []
    command = [program(), *options, "-o", str(out), str(dicom)]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=PATIENCE, check=False, cwd=out.parent
        )
    except subprocess.TimeoutExpired as error:
        what = f"dcm2niix did not end within {PATIENCE} s"
        raise VoxelwayError("D-CONVERT", what) from error
    except OSError as error:
        raise VoxelwayError("E-TOOL", f"dcm2niix can't be run ({error.strerror})") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    found = [Output(path) for path in sorted(out.glob("*.nii"))]
    return found, f"{said}exit status {done.returncode}\n"


def warnings(said: str) -> list[str]:
    """What dcm2niix warned of, in known words; anything else is only counted."""
    alarm = r"(?i)\s*(warning|error)|.*slices not stacked|only able to"
    known, other = set(), 0
    for line in said.splitlines():
        if not re.match(alarm, line):
            continue
        hits = [words for form, words in KNOWN.items() if re.search(form, line, re.IGNORECASE)]
        known.update(hits)
        other += not hits
    return sorted(known) + ([f"{other} other messages"] if other else [])
