"""Values that take the place of others, valid by representation (PS3.5, 6.2), and moved dates."""

from __future__ import annotations

import hmac
import re
from datetime import date, timedelta
from typing import Any

#: Most days that a patient's dates are moved by, and the fewest.
MOST_DAYS, FEWEST_DAYS = 3652, 365

#: Value representation → a value that says nothing.
DUMMIES: dict[str, Any] = {
    **dict.fromkeys(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "REMOVED"),
    "AS": "000Y",
    "CS": "UNKNOWN",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "TM": "000000",
    "UR": "urn:removed",
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV"), 0),
    **dict.fromkeys(("OB", "OW"), b"\0\0"),
    **dict.fromkeys(("OF", "OL"), bytes(4)),
    **dict.fromkeys(("OD", "OV"), bytes(8)),
}

_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_MOMENT = re.compile(r"(\d{8})((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")


def days_of(key: bytes, patient_id: str) -> int:
    """Days that the dates of a patient move to the past: 365 to 3652, the same for all studies.

    Args:
        key: of the hash.
        patient_id: as normalised for the pseudonym.
    """
    digest = hmac.digest(key, f"dates:{patient_id}".encode("utf-8", "surrogateescape"), "sha256")
    return FEWEST_DAYS + int.from_bytes(digest[:8], "big") % (MOST_DAYS - FEWEST_DAYS + 1)


def moved(vr: str, text: str, days: int) -> str | None:
    """A DA, DT or TM moved by whole days; None when it is none.

    A time of day stays, so that it fits the moved date beside it; the offset from UTC of a DT goes,
    because it tells where the examination took place.
    """
    text = text.strip()
    if vr == "TM":
        return text if _TIME.fullmatch(text) else None
    if vr == "DA":
        return _moved_date(text, days)
    match = _MOMENT.fullmatch(text)
    day = _moved_date(match.group(1), days) if match else None
    return None if match is None or day is None else day + match.group(2)


def _moved_date(text: str, days: int) -> str | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    try:
        day = date(*map(int, match.groups())) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}" if day.year >= 1000 else None
