"""The protocol: which series becomes which BIDS suffix, and which of several is the best."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.ingest.gate import Finding
from pipeline.ingest.headers import Common
from pipeline.ingest.volume import Series, Volume

#: Codes of what is merely left out: nothing is wrong with it, it is not what was asked for.
LEFT_OUT = frozenset(
    {
        "D-LOCALIZER",
        "D-DERIVED",
        "D-NOT-IMAGE",
        "D-NOT-DICOM",
        "D-CONTRAST",
        "D-DUPLICATE-CONTRAST",
        "D-COPY",
    }
)
#: Parts of ImageType, after the second, that only computed images have.
DERIVED_TYPES = {
    "ADC", "FA", "TRACEW", "MPR", "MIP", "MINIP", "MEAN", "PROJECTION IMAGE", "REFORMATTED",
    "SUBTRACTION", "AVERAGE", "P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY",
    "T1 MAP", "T2 MAP", "CBF", "CBV", "MTT", "TTP", "CSAPARALLEL", "CSA MPR", "CSAMIP",
}  # fmt: skip


def left_out(series: Series, params: Mapping[str, Any]) -> Finding | None:
    """Why a series is not looked at any further; None when it is."""
    common = series.common
    if "LOCALIZER" in common.image_type or _found(params["localizer"], common):
        return Finding("D-LOCALIZER", "A localizer")
    marks = set(common.image_type[2:]) & DERIVED_TYPES
    if marks or (common.image_type[:1] == ("DERIVED",) and _computed(params["derived"], common)):
        kind = ", ".join(sorted(marks)) or "its description"
        return Finding("D-DERIVED", f"Computed from other images ({kind})")
    if re.search(params["exclude"], common.body_part) or _found(params["exclude"], common):
        return Finding("D-CONTRAST", "The protocol excludes this kind of series or body part")
    return None


def _computed(pattern: str, common: Common) -> bool:
    later = " ".join(common.image_type[2:])
    return _found(pattern, common) or bool(re.search(pattern, later))


def _found(pattern: str, common: Common) -> bool:
    """Search the description; the protocol's name, which may be that of a whole exam, only where
    there is none. Words may be joined by underscores, which regexes take for letters."""
    text = common.description or common.protocol
    return bool(re.search(pattern, text.replace("_", " ")))


def suffix_of(volume: Volume, params: Mapping[str, Any]) -> str | None:
    """Suffix that the first fitting rule gives, None when no rule fits."""
    number = rule_of(volume, params)
    return None if number is None else str(params["protocol"][number]["suffix"])


def rule_of(volume: Volume, params: Mapping[str, Any]) -> int | None:
    """Position of the first fitting rule in the protocol, None when no rule fits."""
    for number, rule in enumerate(params["protocol"]):
        if _fits(volume, rule, params):
            return number
    return None


#: Least cosine between the normal of the slices and an axis of the body; dicom3tools uses it too.
STRAIGHT = 0.8
PLANES = ("sagittal", "coronal", "axial")


def orientation(volume: Volume) -> str:
    """How slices lie in the body: axial, coronal, sagittal or oblique; empty when not told."""
    axes = volume.planes[0].frame.orientation
    if axes is None:
        return ""
    normal = np.abs(np.cross(axes[:3], axes[3:]))
    length = float(np.linalg.norm(normal))
    main = int(np.argmax(normal))
    straight = length > 0 and normal[main] >= STRAIGHT * length
    return PLANES[main] if straight else "oblique"


def enhanced(volume: Volume, params: Mapping[str, Any]) -> bool:
    """Whether a contrast agent was given, by the header or by the description."""
    return volume.common.contrast_agent or _found(params["enhanced"], volume.common)


def _fits(volume: Volume, rule: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    common = volume.common
    if common.modality != rule.get("modality", "MR"):
        return False
    named = "description" in rule
    if named and not _found(rule["description"], common):
        return False
    if "without" in rule and _found(rule["without"], common):
        return False
    if "dimension" in rule and common.acquisition_type not in (rule["dimension"], ""):
        return False
    if not set(rule.get("sequence", ())) <= set(common.scanning_sequence):
        return False
    if "orientation" in rule and orientation(volume) not in (*rule["orientation"], ""):
        return False
    if rule.get("contrast_agent") not in (None, enhanced(volume, params)):
        return False
    numbers = {
        "tr": common.repetition_time,
        "te": volume.echo_time,
        "ti": common.inversion_time,
        "thickness": common.thickness,
    }
    return all(_within(numbers[name], rule.get(name), named) for name in numbers)


def _within(value: float | None, span: Sequence[float] | None, unknown: bool) -> bool:
    if span is None:
        return True
    return unknown if value is None else span[0] <= value <= span[1]


def rank(volume: Volume, params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sorting key, the best last: no contrast agent, original, 3D, thin, many slices, late."""
    common, stack = volume.common, volume.stack
    step = stack.step if stack is not None else 1e3
    return (
        not enhanced(volume, params),
        common.image_type[:1] != ("DERIVED",),
        common.acquisition_type == "3D",
        -round(step, 1),
        len(volume.planes),
        -(volume.echo_time or 0.0) if volume.echo is not None else 0.0,
        max(header.time for header in volume.headers),
        (common.series_number, common.series_uid),
    )


_REASONS = (
    "it has no contrast agent",
    "it is the original acquisition",
    "it is a 3D acquisition",
    "its slices are thinner",
    "it has more slices",
    "its echo is shorter",
    "it was acquired later",
    "they are alike, and it has the higher series number",
)


def best(
    volumes: Sequence[Volume], suffix: str, params: Mapping[str, Any]
) -> tuple[Volume, list[tuple[Volume, Finding]]]:
    """The best of several volumes of one suffix, and why each other was left out."""

    def place(volume: Volume) -> tuple[Any, ...]:
        return rank(volume, params)

    ordered = sorted(volumes, key=place)
    taken = ordered[-1]
    others = []
    for volume in ordered[:-1]:
        pairs = zip(place(taken), place(volume), _REASONS, strict=True)
        reason = next((why for one, other, why in pairs if one != other), _REASONS[-1])
        derived = reason == _REASONS[1]
        code = "D-DERIVED" if derived else "D-DUPLICATE-CONTRAST"
        what = f"{suffix} is taken from series {taken.series.label}: {reason}"
        others.append((volume, Finding(code, what)))
    return taken, others
