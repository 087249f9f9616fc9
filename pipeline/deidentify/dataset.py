"""De-identifies one data set: every element at every depth, the preamble and the meta header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from pipeline import __version__
from pipeline.deidentify import profile, terms, values
from pipeline.deidentify.pixels import is_lookup_table, tidy_pixels
from pipeline.export.identity import Pseudonym

#: UID that names Voxelway as the implementation that wrote a file.
IMPLEMENTATION = UID("2.25.323092263887541876112406372349219098510")

_NUMBERS = {"AT", "DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"}
_NUMBERS |= {"US or SS", "US or OW", "US or SS or OW"}
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "OB or OW"}
_MOMENTS = {"DA", "DT", "TM"}
_CODE = {
    0x00080100,  # CodeValue
    0x00080102,  # CodingSchemeDesignator
    0x00080104,  # CodeMeaning
    0x00080119,  # LongCodeValue
    0x00080120,  # URNCodeValue
}


@dataclass(frozen=True)
class Rules:
    """How one patient's objects are treated.

    Attributes:
        pseudonym: name for the patient, and the key of the UIDs.
        days: that dates move to the past; None removes dates.
        words: regular expressions of the words that stay of descriptors; None removes them all.
        device: whether the device stays known.
    """

    pseudonym: Pseudonym
    days: int | None = None
    words: tuple[str, ...] | None = None
    device: bool = False


def deidentify(dataset: FileDataset, rules: Rules) -> None:
    """De-identify an object in place, ready to be saved.

    PS3.15, Annex E, Basic Application Level Confidentiality Profile with the options of ``rules``.
    Beyond the table, texts that no standard and no scanner writes are replaced too, and private,
    unknown and retired elements, overlays, curves and group lengths are removed.

    Args:
        dataset: a single or multi-frame image; its pixels stay.
        rules: pseudonym and options.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    tidy_pixels(dataset, syntax)
    clean(dataset, rules)
    _declare(dataset, rules)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = f"VOXELWAY_{__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = bytes(128)


def clean(dataset: Dataset, rules: Rules) -> None:
    """Treat every element of a data set and of the items of its sequences, in place."""
    coded = bool(_CODE.intersection(dataset.keys()))
    if coded:
        _clean_code(dataset)
    for tag in list(dataset.keys()):
        if coded and tag in _CODE:
            continue
        element = _element(dataset, tag)
        if element is None or not _treat(element, rules):
            del dataset[tag]
    if "LUTData" in dataset and not is_lookup_table(dataset):
        del dataset["LUTData"]


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """The element, if the standard knows it and its value is of the kind that it should be."""
    if tag.is_private or tag.element == 0 or tag.group & 0xFF00 in (0x5000, 0x6000):
        return None
    if not dictionary_has_tag(tag) or tag.group in (0, 2, 4):
        return None
    try:
        element = dataset[tag]
        # a lazy value is read here, so that a damaged one shows
        count = element.VM
    except Exception:
        return None
    expected = dictionary_VR(tag)
    if expected != element.VR and element.VR not in expected.split(" or "):
        return None
    most = dictionary_VM(tag)
    text_of_bytes = isinstance(element.value, bytes) and element.VR.startswith("US or SS")
    size = len(element.value) // 2 if text_of_bytes else count
    return None if most.isdigit() and size > int(most) else element


def _treat(element: DataElement, rules: Rules) -> bool:
    """Change an element as the profile says; False when it has to go."""
    tag, vr = int(element.tag), element.VR
    action = profile.actions().get(tag)
    if tag in (profile.PATIENT_NAME, profile.PATIENT_ID):
        element.value = rules.pseudonym.name
        return True
    if rules.device and tag in profile.DEVICE:
        return True
    if vr == "SQ":
        return _treat_sequence(element, action, rules)
    if element.is_empty:
        return action != "remove"
    if _kept_by_option(element, rules):
        return True
    if action is None:
        return _treat_unlisted(element, rules)
    return _apply(element, action, rules)


def _treat_sequence(element: DataElement, action: str | None, rules: Rules) -> bool:
    if action == "remove":
        return False
    if action == "empty":
        element.value = Sequence()
        return True
    # within a dummy every text is replaced as well, because no list names it
    for item in element.value:
        clean(item, rules)
    return True


def _kept_by_option(element: DataElement, rules: Rules) -> bool:
    """Clean descriptors and modified dates; False when no option speaks for the element."""
    tag, vr = int(element.tag), element.VR
    if rules.words is not None and tag in profile.DESCRIPTORS:
        kept = terms.kept_words(str(element.value), rules.words)
        element.value = kept or element.value
        return bool(kept)
    if rules.days is None or vr not in _MOMENTS or tag in profile.PERSONAL_DATES:
        return False
    moments = [values.moved(vr, str(value), rules.days) for value in _each(element)]
    if None in moments:
        return False
    element.value = moments if len(moments) > 1 else moments[0]
    return True


def _apply(element: DataElement, action: str, rules: Rules) -> bool:
    """One action of the table on an element that is no sequence and not empty."""
    if action == "remove":
        return False
    if action == "empty":
        element.clear()
        return True
    if element.VR == "UI":
        _replace_uids(element, rules)
        return True
    return _dummy(element)


def _dummy(element: DataElement) -> bool:
    if element.VR not in values.DUMMIES:
        return False
    element.value = values.DUMMIES[element.VR]
    return True


def _replace_uids(element: DataElement, rules: Rules) -> None:
    found = [
        uid if terms.known_uid(uid) else rules.pseudonym.uid(uid)
        for uid in (str(value).strip(" \0") for value in _each(element))
    ]
    element.value = found if len(found) > 1 else found[0]


def _treat_unlisted(element: DataElement, rules: Rules) -> bool:
    """An element that the table does not name: numbers stay, texts only when they are known."""
    vr = element.VR
    if vr in _NUMBERS:
        # numbers that do not parse have gone; more digits than are allowed may place the slice
        return True
    if vr in _BINARY:
        return int(element.tag) in profile.BINARY
    if vr == "UI":
        _replace_uids(element, rules)
        return True
    if vr == "CS":
        unknown = values.DUMMIES["CS"]
        found = [v if terms.known_code_string(v) else unknown for v in map(str, _each(element))]
    else:
        kept = [terms.known_text(element.keyword, str(value)) for value in _each(element)]
        found = list(filter(None, kept))
    if not found:
        return _dummy(element)
    element.value = found if len(found) > 1 else found[0]
    return True


def _each(element: DataElement) -> list[Any]:
    value = element.value
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _clean_code(item: Dataset) -> None:
    """Keep a code of the standard, with the standard's meaning; replace any other (PS3.3, 8.8)."""
    found = terms.known_code(item)
    for tag in _CODE.intersection(item.keys()):
        del item[tag]
    value, scheme, meaning = found or ("REMOVED", "99VOXELWAY", "Removed")
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning


def _declare(dataset: Dataset, rules: Rules) -> None:
    """Say what was done (PS3.15, E.1.1; PS3.3, C.7.1.1 and C.12.1)."""
    # all texts are plain ASCII now
    dataset.pop("SpecificCharacterSet", None)
    dataset.PatientName = dataset.PatientID = rules.pseudonym.name
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [f"Voxelway {__version__}", f"PS3.15 {profile.EDITION} E.1-1"]
    chosen = profile.codes(
        words=rules.words is not None, shifted=rules.days is not None, device=rules.device
    )
    dataset.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in chosen)
    state = "REMOVED" if rules.days is None else "MODIFIED"
    dataset.LongitudinalTemporalInformationModified = state


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning[:64]
    return item


def options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Options of :class:`Rules` from the section ``deidentify`` of the configuration."""
    words = tuple(params["words"]) if params["descriptors"] else None
    return {"words": words, "device": bool(params["device"])}
