"""Plants a string in all that a DICOM file can hold, and looks for it in whatever came of it."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.sequence import Sequence

MARK = "XQZMARK"
#: Digits that stand in every planted UID, date and time.
UID_ROOT, DATE, TIME = "1.2.999.77177", "19470417", "083159.123457"
TEXTS = ("LO", "SH", "ST", "LT", "UT", "UC", "AE", "UR", "CS")
#: Without these the object could not be read as an image at all.
KEPT = {
    "SpecificCharacterSet", "SOPClassUID", "Modality", "PhotometricInterpretation",
    "TransferSyntaxUID", "ImageType", "BurnedInAnnotation", "MRAcquisitionType",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
}  # fmt: skip


class Planter:
    """Numbers the strings it plants, so that a leak tells where it came from."""

    def __init__(self) -> None:
        self.count = 0

    def value(self, vr: str) -> Any:
        self.count += 1
        token = f"{MARK}{self.count}"
        values: dict[str, Any] = {
            **dict.fromkeys(TEXTS, token),
            "PN": f"{token}A^{token}B=Ж{token}",
            "UI": f"{UID_ROOT}.{self.count}",
            "DA": DATE,
            "TM": TIME,
            "DT": DATE + TIME,
            "AS": "077Y",
            "UN": token.encode().ljust(16, b" "),
            "OB": token.encode().ljust(16, b" "),
            "OW": token.encode().ljust(16, b" "),
        }
        return values.get(vr)

    def everywhere(self) -> Dataset:
        """In every attribute that the standard knows, in private ones, in overlays and items."""
        dataset = Dataset()
        for tag, entry in DicomDictionary.items():
            keyword, group = entry[4], tag >> 16
            if keyword in KEPT or not keyword or group in (0, 2, 4, 0x7FE0):
                continue
            if entry[0] == "SQ":
                # a deep item in every twentieth sequence, for speed
                item = self.item(0) if self.count % 20 == 0 else self.light()
                dataset.add_new(tag, "SQ", Sequence([item]))
            elif (value := self.value(entry[0])) is not None:
                dataset.add_new(tag, entry[0], value)
        self.hidden(dataset)
        return dataset

    def light(self) -> Dataset:
        """An item with one text."""
        item = Dataset()
        item.PatientComments = self.value("LT")
        return item

    def item(self, depth: int) -> Dataset:
        """An item with a few texts; at the first level, with sequences of its own."""
        item = Dataset()
        for keyword in ("PatientComments", "PatientName", "CodeMeaning", "TextValue", "StudyDate"):
            setattr(item, keyword, self.value(dictionary_VR(keyword)))
        if depth == 0:
            item.ReferencedStudySequence = Sequence([self.item(1)])
            item.ContentSequence = Sequence([self.item(1)])
        self.hidden(item)
        return item

    def hidden(self, dataset: Dataset) -> None:
        """Private elements, a private sequence, an unknown element, an overlay and a curve."""
        block = dataset.private_block(0x0029, f"{MARK}CREATOR", create=True)
        block.add_new(0x01, "LO", self.value("LO"))
        block.add_new(0x02, "UN", self.value("UN"))
        inner = Dataset()
        inner.PatientName = self.value("PN")
        block.add_new(0x03, "SQ", Sequence([inner]))
        dataset.add_new(0x00110102, "LO", self.value("LO"))
        dataset.add_new(0x0008FFF2, "LO", self.value("LO"))
        dataset.add_new(0x60004000, "LT", self.value("LT"))
        dataset.add_new(0x60003000, "OW", self.value("OW"))
        dataset.add_new(0x50002500, "LO", self.value("LO"))


def traces(content: bytes, *more: str) -> list[str]:
    """The planted strings that bytes hold, in any of the usual encodings."""
    found = []
    for word in (MARK, UID_ROOT, DATE, TIME, *more):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            if word.encode(encoding).lower() in content.lower():
                found.append(f"{word} in {encoding}")
    return found


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file below a folder, compressed ones as they are and unpacked."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        yield name, name.encode("utf-8", "surrogateescape")
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield name, content
        if content[:2] == b"\x1f\x8b":
            yield name, gzip.decompress(content)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    yield f"{name}:{member}", member.encode() + archive.read(member)


def leaks(folder: Path, *more: str) -> list[str]:
    """File names and what of the planted was found in or as them."""
    return [f"{name}: {found}" for name, data in contents(folder) if (found := traces(data, *more))]
