"""De-identifies one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline import files
from pipeline.deidentify.dataset import Rules, deidentify, options
from pipeline.deidentify.values import days_of
from pipeline.errors import VoxelwayError
from pipeline.export.identity import Pseudonym
from pipeline.ingest.identity import normalised, pseudonym
from pipeline.quiet import quiet

#: What the pixels of a measured image are.
GREY = ("MONOCHROME1", "MONOCHROME2")


def write_deidentified(
    source: str, target: Path, patient_id: str, key: bytes, params: Mapping[str, Any]
) -> None:
    """Read a file, de-identify it, write it whole.

    Args:
        source: path of the original.
        target: path of the de-identified file.
        patient_id: PatientID of the file.
        key: of pseudonyms, UIDs and the shift of dates.
        params: the section ``deidentify`` of the configuration.

    Raises:
        VoxelwayError: D-UNREADABLE when the file can't be parsed or written again; E-DISK-FULL,
            E-DIR-WRITE.
    """
    days = days_of(key, normalised(patient_id)) if params["dates"] == "shifted" else None
    rules = Rules(Pseudonym(pseudonym(key, patient_id), key), days, **options(params))
    with quiet():
        dataset = _prepared(source, rules)
        with files.atomic(target) as part:
            try:
                dataset.save_as(part, enforce_file_format=True)
            except OSError:
                raise
            except Exception as error:
                raise _unreadable("written again", error) from error


def _prepared(source: str, rules: Rules) -> FileDataset:
    try:
        dataset = pydicom.dcmread(source, force=True)
        _complete_meta(dataset)
        if str(dataset.get("PhotometricInterpretation", "")) not in GREY:
            raise VoxelwayError("D-BURNED-IN", "A colour picture, which may be of a screen")
        deidentify(dataset, rules)
    except VoxelwayError:
        raise
    except Exception as error:
        # pydicom meets damaged files with exceptions of many kinds, whose text may quote the file
        raise _unreadable("parsed", error) from error
    return dataset


def _unreadable(done: str, error: Exception) -> VoxelwayError:
    return VoxelwayError("D-UNREADABLE", f"The file can't be {done} ({type(error).__name__})")


def _complete_meta(dataset: FileDataset) -> None:
    """Give a file without a meta header the transfer syntax that it was read in."""
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
