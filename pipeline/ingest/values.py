"""Values of DICOM attributes as plain text and numbers; what is damaged counts as absent."""

from __future__ import annotations

from typing import Any

Vector = tuple[float, ...]


def many(value: Any) -> bool:
    """Whether a value has several parts."""
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes)


def text(dataset: Any, keyword: str) -> str:
    """An attribute as text without padding, its parts joined by a backslash; empty when absent."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    if many(value):
        return "\\".join(str(item) for item in value).strip(" \0")
    return str(value).strip(" \0")


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """The parts of an attribute, in upper case."""
    joined = text(dataset, keyword)
    return tuple(part.strip().upper() for part in joined.split("\\")) if joined else ()


def number(dataset: Any, keyword: str) -> float | None:
    """The first number of an attribute."""
    value = dataset.get(keyword)
    numbers = vector(value if many(value) else [value])
    return numbers[0] if numbers else None


def whole(dataset: Any, keyword: str) -> int | None:
    """The first number of an attribute, without its fraction."""
    value = number(dataset, keyword)
    return None if value is None or abs(value) > 1e12 else int(value)


def vector(value: Any, count: int | None = None) -> Vector | None:
    """Finite numbers of a multi-valued attribute, None when absent, damaged or of another count."""
    if not many(value):
        return None
    try:
        numbers = tuple(float(item) for item in value)
    except (TypeError, ValueError):
        return None
    if not all(abs(number) < 1e30 for number in numbers):
        return None
    return numbers if numbers and count in (None, len(numbers)) else None
