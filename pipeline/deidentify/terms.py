"""Which texts of a header may stay: those that the standard or a scanner writes, not a person.

The Basic Profile leaves attributes alone that its table does not name. A name typed into one of
them would leave with the object, so that such a text stays only when it is a term that is known
here: a code string of the standard, a coded concept, the name of a manufacturer or a version.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files as package_files

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID_dictionary

from pipeline.ingest.facts import manufacturer

#: Numbers within a code string: few digits, so that no date and no patient's number passes.
_NUMBER = re.compile(r"[BE]?\d{1,4}")

#: Attributes of free text whose values follow a form; the whole value must match.
FORMS = {
    "CodingSchemeVersion": r"\d{1,4}|01",
    "ConvolutionKernel": (
        r"[A-Z][a-z]?\d{2}[a-z]{1,2}|STANDARD|SOFT|BONE|BONEPLUS|DETAIL|LUNG|HEAD|[1-5]"
    ),
    "ModalityLUTType": r"OD|HU|US|MGML|Z_EFF|ED|EDW|HU_MOD|PCT",
    "PulseSequenceName": r"\*?[a-z]{2,5}[23]d\d{0,2}(_\d{1,3})?(ns|r|rr|t)?",
    "RescaleType": r"OD|HU|US|MGML|Z_EFF|ED|EDW|HU_MOD|PCT|normalized",
    "SequenceName": r"\*?[a-z]{2,5}[23]d\d{0,2}(_\d{1,3})?(ns|r|rr|t)?",
    "SoftwareVersions": (
        r"(syngo )?(MR |CT )?(20\d\d[A-Z] ?)?(XA|VA|VB|VC|VD|VE|[A-E])\d{1,2}[A-Z]?"
        r"|\d{1,3}(\.\d{1,3}){0,3}|LX|MR Software release:[A-Z]{2}\d\d\.\d_R\d\d_\d{4}\.[a-z]"
    ),
    "StackID": r"\d{1,4}",
    "WindowCenterWidthExplanation": r"(?i)algo[12]|window[12]|brain|bone|soft tissue|normal",
}  # fmt: skip


def known_code_string(value: str) -> bool:
    """Whether every word of a code string is a term of the standard or of a scanner."""
    words = [word for word in re.split(r"[ _]+", value.strip()) if word]
    return all(word in _words("terms.txt") or _NUMBER.fullmatch(word) for word in words)


@cache
def _words(name: str) -> frozenset[str]:
    text = package_files("pipeline.deidentify").joinpath(name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return frozenset(word for line in lines for word in re.split(r"[\s_]+", line) if word)


def known_text(keyword: str, value: str) -> str:
    """What may stay of one value of a free text; empty when nothing may."""
    text = value.strip()
    if keyword == "Manufacturer":
        usual = manufacturer(text)
        return "" if usual in ("other", "unknown") else usual
    if keyword == "ManufacturerModelName":
        words = re.split(r"[ _]+", text)
        return " ".join(word for word in words if word.lower() in _words("models.txt"))
    form = FORMS.get(keyword)
    return text if form and re.fullmatch(form, text) else ""


def known_uid(value: str) -> bool:
    """Whether a UID is one that the standard assigns: a class, a syntax, an atlas."""
    return value in UID_dictionary


def known_code(item: Dataset) -> tuple[str, str, str] | None:
    """Value, scheme and the standard's own meaning of a coded item; None for any other code."""
    value, scheme = str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", ""))
    if not value or not scheme:
        return None
    scheme = {"99SDM": "SRT", "SNM3": "SRT"}.get(scheme, scheme)
    meaning = _meaning(value, scheme)
    return None if meaning is None else (value, scheme, meaning)


@cache
def _meaning(value: str, scheme: str) -> str | None:
    found = _concepts().get((scheme, value))
    if found is None and scheme == "SRT":
        # pydicom holds concepts under their SNOMED CT codes, and knows which SRT code is which
        wanted = Code(value, scheme, "")
        matches = (text for (s, v), text in _concepts().items() if Code(v, s, "") == wanted)
        found = next(matches, None)
    return found


@cache
def _concepts() -> dict[tuple[str, str], str]:
    """(Scheme, value) → meaning of the concepts of PS3.16 that fit a CodeMeaning."""
    from pydicom.sr.codedict import codes

    found: dict[tuple[str, str], str] = {}
    for scheme in codes.schemes():
        concepts = getattr(codes, scheme)
        for name in concepts.dir():
            for code in _versions(concepts, name):
                place, meaning = (code.scheme_designator, code.value), code.meaning[:64]
                # one code has several meanings in different context groups
                found[place] = min(found.get(place, meaning), meaning, key=len)
    return found


def _versions(concepts: object, name: str) -> list[Code]:
    """The concept of a keyword; none where a keyword stands for several."""
    try:
        return [getattr(concepts, name)]
    except (AttributeError, RuntimeError):
        return []


def kept_words(text: str, allowed: tuple[str, ...]) -> str:
    """The words of a descriptor that match one of the regular expressions as a whole.

    Args:
        text: words are what stands between spaces and signs.
        allowed: regular expressions, upper and lower case alike.
    """
    words = re.findall(r"[A-Za-z0-9.*+]+", text)
    kept = [w for w in words if any(re.fullmatch(form, w, re.IGNORECASE) for form in allowed)]
    return "_".join(kept)[:64]
