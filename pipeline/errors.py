"""Coded errors: what happened, to which subject and file, and what to do.

Every error that a user can meet is a :class:`VoxelwayError` with a code from :data:`CODES`.
The code decides the exit status of the command: 2 the command or the configuration is wrong,
3 the input was refused, 4 something outside Voxelway failed.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum

from pipeline.advice import ADVICE


class Exit(IntEnum):
    """Exit status of every ``voxelway`` verb."""

    DONE = 0
    COMMAND = 2
    REFUSED = 3
    OUTSIDE = 4
    SOME = 5


@dataclass(frozen=True)
class Code:
    """One entry of the table: the exit status, and what the code stands for."""

    exit: Exit
    meaning: str


_C, _R, _O = Exit.COMMAND, Exit.REFUSED, Exit.OUTSIDE

CODES: dict[str, Code] = {
    # the command or the configuration
    "E-USAGE": Code(_C, "the command line is wrong"),
    "E-CONFIG-FILE": Code(_C, "the configuration file can't be read"),
    "E-CONFIG-KEY": Code(_C, "the configuration has a key that does not exist"),
    "E-QC-DECISIONS": Code(_C, "a table of QC decisions can't be used"),
    "E-CONFIG-VALUE": Code(_C, "a configuration value has the wrong type or range"),
    "E-CONFIG-PATH": Code(_C, "a path of the configuration does not exist"),
    "E-METHOD": Code(_C, "no such method in this stage"),
    "E-TEMPLATE": Code(_C, "no such template"),
    "E-MANIFEST": Code(_C, "the manifest does not have the columns it must have"),
    "E-COMPARE-SAME": Code(_C, "a results folder is compared with itself"),
    # images
    "E-IMG-MISSING": Code(_R, "an input image does not exist"),
    "E-IMG-UNREADABLE": Code(_R, "an image can't be read"),
    "E-IMG-CHANGED": Code(_R, "an image is not the one its sidecar describes"),
    "E-IMG-4D": Code(_R, "the image is not three-dimensional"),
    "E-IMG-AFFINE": Code(_R, "the affine is singular or its axes are not orthogonal"),
    "E-IMG-NAN": Code(_R, "the image holds NaN or infinite values"),
    "E-IMG-EMPTY": Code(_R, "the image is constant"),
    "E-IMG-SLICES": Code(_R, "the image has too few slices"),
    "E-IMG-GRID": Code(_R, "two images that must share a grid do not"),
    "E-IMG-MODALITY": Code(_R, "the method does not take this contrast"),
    "E-IMG-INPUT": Code(_R, "the subject has no image that this stage can use"),
    "E-MASK-EMPTY": Code(_R, "a mask is empty or implausibly small"),
    "E-LABELS": Code(_R, "the label image is not one"),
    "E-OVERLAP": Code(_R, "two images do not overlap after alignment"),
    "E-FOLD": Code(_R, "the registration folds space on itself"),
    "E-JACOBIAN": Code(_R, "the registration changes volumes implausibly"),
    "E-TRUTH": Code(_R, "the reference data are incomplete"),
    "E-SIGNAL": Code(_R, "the image holds too little signal for a sound estimate"),
    # earlier stages, models
    "E-QC-EXCLUDED": Code(_R, "left out by a decision at the QC page"),
    "E-CRASH": Code(_R, "the process ended again and again at this session"),
    "E-UPSTREAM": Code(_R, "an earlier stage of this subject did not finish"),
    "E-TRAIN-DATA": Code(_R, "too few subjects to train on"),
    "E-TRAIN-SPLIT": Code(_R, "a subject is trained on and judged on"),
    "E-TRAIN-DIVERGED": Code(_R, "the training diverged"),
    "E-TRAIN-COLLAPSED": Code(_R, "an adversarial training collapsed"),
    "E-MODEL-MISSING": Code(_R, "the model bundle does not exist or lacks a file"),
    "E-MODEL-CHECKSUM": Code(_R, "the model's weights are not those its metadata describes"),
    "E-MODEL-MEMORISED": Code(_R, "a generator gives back images that it was trained on"),
    "E-MODEL-INPUT": Code(_R, "the model was made for another input"),
    # comparison of two runs
    "E-COMPARE-METRICS": Code(_R, "the results folder has no table of numbers"),
    "E-COMPARE-NONE": Code(_R, "the results folders share no case"),
    # DICOM
    "E-DCM-FOLDER": Code(_R, "the DICOM folder is empty"),
    "E-DCM-NONE": Code(_R, "the folder holds no DICOM image"),
    "E-DCM-SERIES": Code(_R, "the DICOM series does not fit the labels"),
    "D-NOT-DICOM": Code(_R, "the file is no DICOM"),
    "D-TRUNCATED": Code(_R, "a file ends before its pixels do"),
    "D-UNREADABLE": Code(_R, "a file can't be parsed"),
    "D-SLICES-MISSING": Code(_R, "slices are missing from the series"),
    "D-SLICES-DUPLICATE": Code(_R, "two slices share a position"),
    "D-SLICES-FEW": Code(_R, "the series has too few slices"),
    "D-SPACING-VARIABLE": Code(_R, "the distance between slices varies"),
    "D-SPACING-NONE": Code(_R, "the pixel spacing is not given"),
    "D-POSITION-NONE": Code(_R, "position or orientation is not given"),
    "D-MIXED-PATIENT": Code(_R, "several patients or studies in one series"),
    "D-MIXED-FRAME": Code(_R, "several frames of reference in one series"),
    "D-MIXED-ORIENTATION": Code(_R, "several orientations in one series"),
    "D-MIXED-PIXELS": Code(_R, "several image or pixel sizes in one series"),
    "D-MIXED-ECHO": Code(_R, "several echo times in one stack of slices"),
    "D-MIXED-ACQUISITION": Code(_R, "several acquisitions or kinds of values in one series"),
    "D-VOLUMES": Code(_R, "several volumes in one series"),
    "D-SERIES-SPLIT": Code(_R, "one stack of slices is spread over several series"),
    "D-TILT": Code(_R, "the slices are not stacked at right angles: gantry tilt"),
    "D-NO-PATIENT": Code(_R, "the series names no patient"),
    "D-CONVERT": Code(_R, "the series could not be converted"),
    "D-GEOMETRY": Code(_R, "the converted image does not agree with the headers"),
    "D-BURNED-IN": Code(_R, "the pixels may show the patient's name"),
    "D-MOSAIC": Code(_R, "a mosaic, whose slices only private elements describe"),
    "D-FACE": Code(_R, "the image may show a face that can't be taken out"),
    "E-PSEUDONYM": Code(_R, "two patients get the same pseudonym"),
    "D-SAME-ID": Code(_R, "one PatientID stands for several people"),
    "D-LOCALIZER": Code(_R, "a localizer, left out"),
    "D-DERIVED": Code(_R, "a derived image, left out"),
    "D-NOT-IMAGE": Code(_R, "an object without an image, left out"),
    "D-CONTRAST": Code(_R, "no rule of the protocol takes this series, left out"),
    "D-DUPLICATE-CONTRAST": Code(_R, "a better series of the same contrast was taken, left out"),
    "D-COPY": Code(_R, "copies of files that are taken, left out"),
    "D-COPY-DIFFERS": Code(_R, "files that claim to be the same object differ"),
    "D-CONTRAST-AGENT": Code(_R, "a contrast agent was given, and there is no image without"),
    # archives (PACS)
    "E-PACS-PEER": Code(_C, "no such archive is configured"),
    "E-PACS-LIST": Code(_C, "the list of what to pull can't be used"),
    "E-PACS-CREDENTIALS": Code(_C, "the credentials of the archive can't be used"),
    "E-PACS-NONE": Code(_R, "the archive has nothing that matches"),
    "E-PACS-UNREACHABLE": Code(_O, "the archive can't be reached or broke off"),
    "E-PACS-AE": Code(_O, "the archive does not know an AE title"),
    "E-PACS-REJECTED": Code(_O, "the archive rejected the association"),
    "E-PACS-TLS": Code(_O, "no secure connection with the archive"),
    "E-PACS-AUTH": Code(_O, "the archive refused the credentials"),
    "E-PACS-QUERY": Code(_O, "the archive did not answer a query or a retrieval"),
    "E-PACS-INCOMPLETE": Code(_O, "fewer instances arrived than the archive names"),
    "E-PACS-STORE": Code(_O, "the archive did not take an instance"),
    # the outside
    "E-DISK-FULL": Code(_O, "the disk is full"),
    "E-DIR-WRITE": Code(_O, "a folder can't be written"),
    "E-FILE-READ": Code(_O, "a file can't be read"),
    "E-TOOL": Code(_O, "a program that Voxelway calls is missing or failed"),
    "E-MEMORY": Code(_O, "the memory did not suffice"),
    "E-RUNNING": Code(_O, "another run works on the same results"),
    "E-GPU": Code(_O, "a GPU was asked for and none is visible"),
    "E-SLURM": Code(_O, "the cluster does not answer"),
    "E-SLURM-PARTITION": Code(_O, "the cluster has no such partition, or one of other limits"),
    "E-SLURM-ACCOUNT": Code(_O, "the cluster does not take jobs of this account"),
    "E-SLURM-NODE": Code(_O, "a compute node can't run Voxelway"),
    "E-INTERNAL": Code(_O, "a fault of Voxelway itself"),
}


class VoxelwayError(Exception):
    """An error with a code, the place where it happened and what to do about it.

    Args:
        code: a key of :data:`CODES`.
        what: what happened, with the observed values, one sentence.
        where: the file or subject it happened to; never a patient's name or an original UID.
        hint: what the user can do; without it, what :data:`ADVICE` has for the code.
    """

    def __init__(self, code: str, what: str, *, where: str = "", hint: str = "") -> None:
        if code not in CODES:
            raise KeyError(f"unknown error code {code}")
        self.code = code
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(self.message)

    @property
    def exit(self) -> Exit:
        """Exit status that this code stands for."""
        return CODES[self.code].exit

    @property
    def message(self) -> str:
        """The error as one paragraph, without its code."""
        parts = [self.what.rstrip(".") + "."]
        if self.where:
            parts.append(f"In {self.where}.")
        if advice := self.hint or ADVICE.get(self.code, ""):
            parts.append(advice.rstrip(".") + ".")
        return " ".join(parts)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.code, self.what, self.where, self.hint))


def _rebuild(code: str, what: str, where: str, hint: str) -> VoxelwayError:
    return VoxelwayError(code, what, where=where, hint=hint)


def from_os_error(error: OSError, where: str = "") -> VoxelwayError:
    """Turn an operating system's error into a coded one."""
    where = where or str(error.filename or "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free some space and run the same command again; nothing half-written was kept"
        return VoxelwayError("E-DISK-FULL", "The disk is full", where=where, hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        hint = "Choose another folder, or change its permissions"
        return VoxelwayError("E-DIR-WRITE", f"{error.strerror}", where=where, hint=hint)
    return VoxelwayError("E-FILE-READ", f"{error.strerror or error}", where=where)


def from_exception(error: BaseException, where: str = "") -> VoxelwayError:
    """Turn any exception into a coded one; what has no code of its own is E-INTERNAL.

    Args:
        error: what was raised.
        where: the file or subject that was worked on, for an error that names none.
    """
    if isinstance(error, VoxelwayError):
        if error.where or not where:
            return error
        return VoxelwayError(error.code, error.what, where=where, hint=error.hint)
    if isinstance(error, MemoryError):
        hint = "Give the job more memory, or lower the resolution"
        return VoxelwayError("E-MEMORY", "The memory did not suffice", where=where, hint=hint)
    if isinstance(error, OSError):
        return from_os_error(error, where)
    text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    hint = "The log has the traceback; please report it"
    return VoxelwayError("E-INTERNAL", text, where=where, hint=hint)
