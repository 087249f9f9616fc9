"""The DICOM folder of one subject: its series, and what ingest has to leave out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.phantom import acquisition, dicom, identity
from pipeline.phantom.contrast import Flair, Mprage, Sequence, Tse
from pipeline.phantom.deformation import CENTRE
from pipeline.phantom.lattice import AXIAL, CORONAL, SAGITTAL, Floats, Lattice, generator
from pipeline.phantom.protocol import MISSING_SLICES, TRUNCATED
from pipeline.phantom.subject import CEILING, Subject

#: SeriesNumber of each series of a study; the numbers between are the scanner's own.
NUMBERS = {"localizer": 1, "T1w": 2, "T2w": 4, "FLAIR": 5, "derived": 102, "report": 201}
#: Share of the T1w's slices, in its middle, that the subject with missing slices lacks.
GAP = 0.08


def write(subject: Subject, folder: Path) -> None:
    """Write all objects of one study below ``folder``.

    Odd subjects have a folder a series, even ones all files in one, as exports differ.
    """
    plan = subject.plan
    patient = identity.draw(plan.folder, plan.seed)
    bits = 12 if plan.number % 2 else 16
    series = {"localizer": _localizer(subject, patient, bits)}
    for suffix in subject.series:
        series[suffix] = _acquired(subject, suffix, patient, bits)
    if plan.broken == MISSING_SLICES:
        series["T1w"] = _without_middle(series["T1w"])
    if not plan.broken:
        series["derived"] = _derived(subject, patient, bits)
        series["report"] = [_report(patient)]
    paths = _save(series, folder, flat=plan.number % 2 == 0)
    if plan.broken == TRUNCATED:
        dicom.truncate(paths["T1w"][len(paths["T1w"]) // 2])


def _save(
    series: Mapping[str, list[Dataset]], folder: Path, *, flat: bool
) -> dict[str, list[Path]]:
    paths: dict[str, list[Path]] = {}
    count = 0
    for place, (name, instances) in enumerate(series.items(), start=1):
        paths[name] = []
        for number, dataset in enumerate(instances, start=1):
            count += 1
            path = folder / (f"IM{count:04d}.dcm" if flat else f"S{place:03d}/IM{number:04d}.dcm")
            dicom.save(dataset, path)
            paths[name].append(path)
    return paths


def _acquired(
    subject: Subject, suffix: str, patient: identity.Identity, bits: int
) -> list[Dataset]:
    scan = subject.series[suffix]
    names = {"T1w": f"t1_mprage_{subject.plan.name}", "T2w": "t2_tse_tra", "FLAIR": "t2_flair_tra"}
    tags = timing(subject.sequences[suffix])
    header = dicom.Header(patient, NUMBERS[suffix], names[suffix], tags=tags, bits=bits)
    return dicom.image_instances(header, [scan.lattice], [scan.stored])


def timing(sequence: Sequence) -> dict[str, Any]:
    """DICOM attributes of a pulse sequence."""
    common = {"PixelBandwidth": "240", "NumberOfAverages": "1", "PercentSampling": "100"}
    if isinstance(sequence, Mprage):
        return common | {
            "ScanningSequence": ["GR", "IR"],
            "SequenceVariant": ["SK", "SP", "MP"],
            "ScanOptions": "IR",
            "MRAcquisitionType": "3D",
            "SequenceName": "tfl3d1",
            "RepetitionTime": f"{sequence.tr:g}",
            "EchoTime": f"{sequence.te:g}",
            "InversionTime": f"{sequence.ti:g}",
            "FlipAngle": f"{sequence.flip:g}",
            "EchoTrainLength": "1",
        }
    tags = common | {"MRAcquisitionType": "2D", "FlipAngle": "150", "ScanOptions": "PFP"}
    if isinstance(sequence, Flair):
        return tags | {
            "ScanningSequence": ["SE", "IR"],
            "SequenceVariant": ["SK", "SP", "MP"],
            "SequenceName": "tir2d1",
            "RepetitionTime": f"{sequence.tr:g}",
            "EchoTime": f"{sequence.te:g}",
            "InversionTime": f"{sequence.ti:g}",
            "EchoTrainLength": "16",
        }
    if isinstance(sequence, Tse):
        return tags | {
            "ScanningSequence": "SE",
            "SequenceVariant": ["SK", "SP"],
            "SequenceName": "tse2d1",
            "RepetitionTime": f"{sequence.tr:g}",
            "EchoTime": f"{sequence.te:g}",
            "EchoTrainLength": "15",
        }
    raise TypeError(f"no DICOM attributes for {type(sequence).__name__}")


def _resampled(subject: Subject, lattice: Lattice) -> NDArray[np.uint16]:
    """The stored T1w on another lattice, linear."""
    t1w = subject.series["T1w"]
    image = t1w.lattice.image(t1w.stored.astype(np.float32))
    moved = sitk.Resample(image, lattice.empty(), sitk.Transform(), sitk.sitkLinear, 0.0)
    values: Floats = sitk.GetArrayFromImage(moved)
    return np.round(values).astype(np.uint16)


def _localizer(subject: Subject, patient: identity.Identity, bits: int) -> list[Dataset]:
    """Three single slices in three orientations, one series."""
    centre = CENTRE + subject.shape.offset
    planes = [
        Lattice.centred((128, 128, 1), (2.0, 2.0, 5.0), centre, direction)
        for direction in (AXIAL, SAGITTAL, CORONAL)
    ]
    rng = generator(subject.plan.seed, subject.plan.folder, "localizer")
    stacks = []
    for plane in planes:
        values = _resampled(subject, plane).astype(np.float32)
        noisy = acquisition.rician(values, 15.0, rng)
        stacks.append(np.clip(np.round(noisy), 0, CEILING).astype(np.uint16))
    tags = timing(subject.sequences["T1w"]) | {
        "ScanningSequence": "GR", "SequenceVariant": "SP", "MRAcquisitionType": "2D",
        "RepetitionTime": "8.6", "EchoTime": "4", "FlipAngle": "20", "SequenceName": "fl2d1",
    }  # fmt: skip
    del tags["InversionTime"]
    header = dicom.Header(patient, NUMBERS["localizer"], "localizer", tags=tags, bits=bits)
    return dicom.image_instances(header, planes, stacks)


def _derived(subject: Subject, patient: identity.Identity, bits: int) -> list[Dataset]:
    """The T1w reformatted by the scanner to thick axial slices."""
    centre = CENTRE + subject.shape.offset
    spacing = max(subject.spacing, 2.0)
    size = int(240 / spacing)
    lattice = Lattice.centred((size, size, 20), (spacing, spacing, 7.5), centre)
    stack = _resampled(subject, lattice)
    kind = ("DERIVED", "SECONDARY", "MPR")
    description = f"t1_mprage_{subject.plan.name}_MPR_tra"
    tags = timing(subject.sequences["T1w"]) | {"DerivationDescription": "Multiplanar reformat"}
    header = dicom.Header(patient, NUMBERS["derived"], description, kind, tags, bits)
    return dicom.image_instances(header, [lattice], [stack])


def _report(patient: identity.Identity) -> Dataset:
    header = dicom.Header(patient, NUMBERS["report"], "Report")
    return dicom.report_instance(header, f"{patient.name.split('^')[0]}: made-up report.")


def _without_middle(instances: list[Dataset]) -> list[Dataset]:
    missing = max(2, round(GAP * len(instances)))
    first = (len(instances) - missing) // 2
    return instances[:first] + instances[first + missing :]
