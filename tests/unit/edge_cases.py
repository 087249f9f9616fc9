"""Exports as they go wrong, each made from one sound series that the phantom's writer wrote."""

from __future__ import annotations

import copy
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from pipeline.phantom import dicom, identity
from pipeline.phantom.lattice import Lattice

SLICES, ROWS, COLUMNS, STEP = 16, 24, 20, 3.0
TAGS = {
    "ScanningSequence": ["GR", "IR"], "MRAcquisitionType": "3D", "RepetitionTime": "2000",
    "EchoTime": "3", "InversionTime": "900", "FlipAngle": "9", "PixelRepresentation": 0,
}  # fmt: skip
Damage = Callable[[list[Path]], Any]


def write(folder: Path, *, number: int = 2, patient: str = "S001") -> list[Path]:
    """A sound T1w series, one file a slice, in the order of the slices."""
    lattice = Lattice.centred((COLUMNS, ROWS, SLICES), (1.5, 1.25, STEP), np.zeros(3))
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in lattice.shape), indexing="ij")
    head = 900 * np.exp(-2 * (x**2 + y**2 + z**2)) * (1.2 + 0.3 * np.sin(5 * x + 3 * y + 7 * z))
    header = dicom.Header(identity.draw(patient, 0), number, "t1_mprage", tags=TAGS)
    instances = dicom.image_instances(header, [lattice], [head.astype(np.uint16)])
    paths = [folder / f"IM{n:04d}.dcm" for n in range(SLICES)]
    for path, instance in zip(paths, instances, strict=True):
        dicom.save(instance, path)
    return paths


def edit(path: Path, **values: Any) -> None:
    """Change attributes of a file in place; None removes one."""
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            delattr(ds, keyword)
    if "SOPInstanceUID" in values:
        ds.file_meta.MediaStorageSOPInstanceUID = UID(values["SOPInstanceUID"])
    ds.save_as(path, enforce_file_format=True)


def some(*numbers: int, **values: Any) -> Damage:
    """Change the slices of these numbers."""
    return lambda paths: [edit(paths[n], **values) for n in numbers]


def every(**values: Any) -> Damage:
    """Change all slices."""
    return some(*range(SLICES), **values)


def tilted(paths: list[Path]) -> None:
    """Fifteen degrees."""
    moved(lambda n: (0, -math.tan(math.radians(15)) * STEP * n, 0))(paths)
    every(GantryDetectorTilt="15")(paths)


def without(*numbers: int, then: Damage | None = None) -> Damage:
    """Change what ``then`` says, and remove the slices of these numbers."""

    def damage(paths: list[Path]) -> None:
        if then is not None:
            then(paths)
        for n in numbers:
            paths[n].unlink()

    return damage


def moved(shift: Callable[[int], tuple[float, float, float]]) -> Damage:
    """Shift the position of each slice by so many millimetres."""

    def damage(paths: list[Path]) -> None:
        for n, path in enumerate(paths):
            place = pydicom.dcmread(path).ImagePositionPatient
            edit(path, ImagePositionPatient=[a + b for a, b in zip(place, shift(n), strict=True)])

    return damage


def again(paths: list[Path], **values: Any) -> list[Path]:
    """A second file of each slice, in a folder of its own, with other values."""
    copies = [path.parent / "again" / path.name for path in paths]
    copies[0].parent.mkdir()
    for n, (path, target) in enumerate(zip(paths, copies, strict=True)):
        shutil.copy(path, target)
        if values:
            ids = {"SOPInstanceUID": dicom.make_uid("again", n)}
            edit(target, **{**ids, **values})
    return copies


def brighter(path: Path) -> None:
    ds = pydicom.dcmread(path)
    ds.PixelData = (ds.pixel_array + 7).astype("<u2").tobytes()
    ds.save_as(path, enforce_file_format=True)


def later(paths: list[Path]) -> list[Path]:
    """The series once more as a later volume: other instance numbers, other times, other values."""
    copies = again(paths, AcquisitionNumber=2)
    for n, path in enumerate(copies):
        edit(path, InstanceNumber=SLICES + n + 1)
        brighter(path)
    return copies


def echoes(paths: list[Path], *gone: int) -> None:
    copies = again(paths, EchoTime="8")
    for n in gone:
        copies[n].unlink()


def cut(keep: float) -> Damage:
    def damage(paths: list[Path]) -> None:
        content = paths[5].read_bytes()
        paths[5].write_bytes(content[: int(len(content) * keep)])

    return damage


def garbled(paths: list[Path]) -> None:
    content = bytearray(paths[5].read_bytes())
    content[128:900] = bytes(255 - value for value in content[128:900])
    paths[5].write_bytes(bytes(content))


def damaged_fragment(paths: list[Path]) -> None:
    """Compressed pixels, overwritten in one file."""
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        ds.save_as(path, enforce_file_format=True)
    content = bytearray(paths[5].read_bytes())
    content[-200:-20] = b"\x81" * 180
    paths[5].write_bytes(bytes(content))


def bare(*, meta: bool) -> Damage:
    """Take away the preamble, and the meta header too unless ``meta``."""

    def damage(paths: list[Path]) -> None:
        for path in paths:
            ds = pydicom.dcmread(path)
            if meta:
                content = path.read_bytes()
                path.write_bytes(content[132:])
                continue
            ds.preamble, ds.file_meta = None, pydicom.dataset.FileMetaDataset()
            ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)

    return damage


def coded(syntax: UID) -> Damage:
    def damage(paths: list[Path]) -> None:
        for path in paths:
            ds = pydicom.dcmread(path)
            if syntax.is_encapsulated:
                ds.compress(syntax, generate_instance_uid=False)
            ds.file_meta.TransferSyntaxUID = syntax
            ds.save_as(path, enforce_file_format=True)

    return damage


def renumbered(number: Callable[[int], int | None]) -> Damage:
    return lambda paths: [edit(path, InstanceNumber=number(n)) for n, path in enumerate(paths)]


def zipped(paths: list[Path]) -> None:
    with zipfile.ZipFile(paths[0].parent / "export.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
            path.unlink()


def beside(name: str, content: bytes) -> Damage:
    return lambda paths: (paths[0].parent / name).write_bytes(content)


def object_beside(sop_class: str, **values: Any) -> Damage:
    """An object of another class, as a series of its own."""

    def damage(paths: list[Path]) -> None:
        ds = copy.deepcopy(pydicom.dcmread(paths[0]))
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
        ds.SeriesInstanceUID = dicom.make_uid("beside")
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(dicom.make_uid("one"))
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        ds.save_as(paths[0].parent / "beside.dcm", enforce_file_format=True)

    return damage


def colour(paths: list[Path]) -> None:
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit = 7
        ds.PixelData = bytes(ROWS * COLUMNS * 3)
        ds.save_as(path, enforce_file_format=True)


@dataclass(frozen=True)
class Case:
    """One way for an export to go wrong.

    ``code`` is what it must get, empty where nothing is wrong; ``whole`` tells that the image is
    converted nevertheless, with the voxels of the sound series; ``unseen`` that no header tells of
    it, and the sidecar has to say just that.
    """

    name: str
    damage: Damage
    code: str = ""
    whole: bool = False
    unseen: bool = False


SPLIT = dicom.make_uid("split")
CASES = [
    Case("Middle slices missing", without(7, 8), "D-SLICES-MISSING"),
    Case("Every second slice missing", without(*range(1, SLICES, 2)), "D-SLICES-MISSING"),
    Case("First slices missing", without(0, 1, 2), "D-SLICES-MISSING"),
    Case(
        "Last slices missing, the header promises a number",
        without(14, 15, then=every(ImagesInAcquisition=SLICES)),
        "D-SLICES-MISSING",
    ),
    Case("Last slices missing, no attribute promises a number", without(14, 15), unseen=True),
    Case("Few slices", without(*range(6, SLICES)), "D-SLICES-FEW"),
    Case("Sent twice, the same objects", again, "D-COPY", whole=True),
    Case("Sent twice, other versions of the objects", lambda p: [brighter(f) for f in again(p)],
         "D-COPY-DIFFERS"),
    Case("Sent twice under new ids", lambda p: again(p, ImageComments=""), "D-SLICES-DUPLICATE"),
    Case("Two different slices at one place",
         lambda p: edit(p[6], ImagePositionPatient=pydicom.dcmread(p[5]).ImagePositionPatient),
         "D-SLICES-DUPLICATE"),
    Case("One series split in two, end to end",
         some(*range(8, SLICES), SeriesInstanceUID=SPLIT), "D-SERIES-SPLIT"),
    Case("One series split in two, alternating",
         some(*range(1, SLICES, 2), SeriesInstanceUID=SPLIT, SpacingBetweenSlices=None),
         "D-SERIES-SPLIT"),
    Case("Two patients in one series", some(9, PatientID="OTHER"), "D-MIXED-PATIENT"),
    Case("Two studies in one series", some(9, StudyInstanceUID="1.2.9"), "D-MIXED-PATIENT"),
    Case("No PatientID", every(PatientID=""), "D-NO-PATIENT"),
    Case("Two frames of reference", some(*range(8, SLICES), FrameOfReferenceUID="1.2.9"),
         "D-MIXED-FRAME"),
    Case("Mixed orientation", some(9, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
         "D-MIXED-ORIENTATION"),
    Case("Mixed pixel size", some(9, PixelSpacing=[1.5, 1.5]), "D-MIXED-PIXELS"),
    Case("Mixed image size",
         lambda p: edit(p[9], Rows=ROWS - 4, PixelData=bytes((ROWS - 4) * COLUMNS * 2)),
         "D-MIXED-PIXELS"),
    Case("Colour pictures", colour, "D-MIXED-PIXELS"),
    Case("Mixed echo", some(*range(1, SLICES, 2), EchoTime="80"), "D-MIXED-ECHO"),
    Case("An echo that lacks slices", lambda p: echoes(p, 6, 7), "D-SLICES-MISSING", whole=True),
    Case("Mixed repetition time", some(*range(8, SLICES), RepetitionTime="2500"),
         "D-MIXED-ACQUISITION"),
    Case("Phase among magnitude", some(9, ImageType=["ORIGINAL", "PRIMARY", "P"]),
         "D-MIXED-ACQUISITION"),
    Case("Several volumes (4D)", later, "D-VOLUMES"),
    Case("Several volumes, slices missing", lambda p: later(p)[5].unlink(), "D-SLICES-MISSING"),
    Case("No pixel spacing", every(PixelSpacing=None), "D-SPACING-NONE"),
    Case("Pixel spacing of zero", some(9, PixelSpacing=[0, 0]), "D-SPACING-NONE"),
    Case("No position", some(9, ImagePositionPatient=None), "D-POSITION-NONE"),
    Case("No orientation", every(ImageOrientationPatient=None), "D-POSITION-NONE"),
    Case("Axes that are not perpendicular", every(ImageOrientationPatient=[1, 0, 0, 0.5, 0.87, 0]),
         "D-POSITION-NONE"),
    Case("Variable spacing", moved(lambda n: (0, 0, 0.9 * max(0, n - 8))), "D-SPACING-VARIABLE"),
    Case("A slice aside", moved(lambda n: (4.0 * (n == 9), 0, 0)), "D-SPACING-VARIABLE"),
    Case("Gantry tilt", tilted, "D-TILT"),
    Case("A file cut off in its pixels", cut(0.8), "D-TRUNCATED"),
    Case("A file cut off in its header", cut(0.3), "D-SLICES-MISSING"),
    Case("A file with an unreadable header", garbled, "D-SLICES-MISSING"),
    Case("Compressed pixels that can't be decoded", damaged_fragment, "D-CONVERT"),
    Case("Burned-in annotation", every(BurnedInAnnotation="YES"), "D-BURNED-IN"),
    Case("A secondary capture beside it", object_beside("1.2.840.10008.5.1.4.1.1.7"),
         "D-NOT-IMAGE", whole=True),
    Case("A report beside it", object_beside("1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"),
         "D-NOT-IMAGE", whole=True),
    Case("A localizer beside it",
         object_beside("1.2.840.10008.5.1.4.1.1.4", SeriesDescription="localizer"),
         "D-LOCALIZER", whole=True),
    Case("A DICOMDIR beside it", object_beside("1.2.840.10008.1.3.10"), "D-NOT-DICOM", whole=True),
    Case("An empty file beside it", beside("IM9999.dcm", b""), "D-UNREADABLE", whole=True),
    Case("A text file beside it", beside("notes.txt", b"Dear Jane,"), "D-NOT-DICOM", whole=True),
    Case("A text file named as DICOM", beside("x.dcm", b"Dear Jane,"), "D-UNREADABLE", whole=True),
    Case("A link that leads nowhere", lambda p: (p[0].parent / "x").symlink_to("gone"),
         "D-UNREADABLE", whole=True),
    Case("No preamble", bare(meta=True), whole=True),
    Case("No preamble and no meta header", bare(meta=False), whole=True),
    Case("Deflated", coded(DeflatedExplicitVRLittleEndian), whole=True),
    Case("Compressed (RLE)", coded(RLELossless), whole=True),
    Case("Instance numbers repeated", renumbered(lambda n: n % 4 + 1), whole=True),
    Case("Instance numbers absent", renumbered(lambda n: None), whole=True),
    Case("Instance numbers against the order", renumbered(lambda n: SLICES - n), whole=True),
    Case("File names in disorder",
         lambda p: [f.rename(f.with_name(f"{n * 7 % SLICES:02d}")) for n, f in enumerate(p)],
         whole=True),
    Case("In a zip archive", zipped, whole=True),
]  # fmt: skip
