"""The facts of an acquisition that a sidecar may hold: physics, no text that a person typed.

Only numbers, codes that the standard enumerates and the usual names of manufacturers pass; a
name, a date or a place in any attribute can't get through.
"""

from __future__ import annotations

from typing import Any

from pipeline.ingest.values import number, texts

#: Names by which a manufacturer is known; any other text is not repeated, it may be anything.
MANUFACTURERS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "ge ": "GE",
    "general electric": "GE",
    "canon": "Canon",
    "toshiba": "Toshiba",
    "hitachi": "Hitachi",
    "fuji": "Fujifilm",
    "united imaging": "UIH",
    "uih": "UIH",
    "bruker": "Bruker",
    "hyperfine": "Hyperfine",
    "esaote": "Esaote",
    "voxelway": "Voxelway",
}


#: Codes that the standard defines for an attribute; any other value is not repeated.
ENUMERATED = {
    "ScanningSequence": {"SE", "IR", "GR", "EP", "RM"},
    "SequenceVariant": {"SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "TOF", "NONE"},
    "ScanOptions": {"PER", "RG", "CG", "PPG", "FC", "PFF", "PFP", "SP", "FS"},
    "MRAcquisitionType": {"1D", "2D", "3D"},
    "PatientPosition": {"HFS", "HFP", "HFDR", "HFDL", "FFS", "FFP", "FFDR", "FFDL"},
    "Modality": {"MR", "CT", "PT", "NM"},
    "ContrastBolusIngredient": {"IODINE", "GADOLINIUM", "CARBON DIOXIDE", "BARIUM", "XENON"},
}
#: Attributes whose numbers pass under the same name and unit in BIDS.
NUMBERS = ("EchoTrainLength", "PixelBandwidth", "ImagingFrequency", "NumberOfAverages")

Facts = tuple[tuple[str, Any], ...]


def coded_facts(dataset: Any) -> Facts:
    """Codes and numbers of one header under their BIDS names; no free text, date or place."""
    facts: dict[str, Any] = {}
    for keyword, allowed in ENUMERATED.items():
        values = tuple(value for value in texts(dataset, keyword) if value in allowed)
        if values:
            facts[keyword] = values[0] if len(values) == 1 else values
    for keyword in NUMBERS:
        value = number(dataset, keyword)
        if value is not None:
            facts[keyword] = value
    return tuple(sorted(facts.items()))


def manufacturer(name: str) -> str:
    """The usual name of a manufacturer; ``other`` for a text that is not on the list."""
    low = f"{name.lower()} "
    for known, usual in MANUFACTURERS.items():
        if known in low:
            return usual
    return "other" if name.strip() else "unknown"
