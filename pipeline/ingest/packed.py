"""Headers as text and back, exactly: what the cache of headers holds. No pickle."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from typing import Any

from pipeline.fingerprint import code_fingerprint
from pipeline.ingest.headers import Common, Frame, Header, Reject

#: Held in columns of their own.
APART = {"path", "member", "common"}


@cache
def version() -> str:
    """Changes when headers are read or kept in another way."""
    import pydicom

    own = code_fingerprint("pipeline.ingest.archives", "pipeline.ingest.packed")
    return f"{own} {pydicom.__version__}"


def text(value: str) -> bytes:
    """Any text as bytes, also one with the halves of characters that damaged headers have."""
    return value.encode("utf-8", "surrogatepass")


def untext(value: bytes) -> str:
    """The text of :func:`text`."""
    return value.decode("utf-8", "surrogatepass")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    skipped = APART if kind is Header else {"path"}
    return tuple(item.name for item in dataclasses.fields(kind) if item.name not in skipped)


def dump(item: Header | Common | Reject) -> str:
    """The fields in their order, as JSON; numbers come back as they were."""
    kind: Any = type(item)
    values = [getattr(item, name) for name in _names(kind)]
    return json.dumps(values, default=_frame, separators=(",", ":"))


def _frame(item: Any) -> list[Any]:
    if not isinstance(item, Frame):
        raise TypeError(f"{type(item).__name__} is no part of a header")
    return [getattr(item, name) for name in _names(Frame)]


def common(content: str) -> Common:
    """What :func:`dump` wrote."""
    return Common(**dict(zip(_names(Common), _tuples(json.loads(content)), strict=True)))


def reject(path: str, content: str) -> Reject:
    """What :func:`dump` wrote."""
    return Reject(path, **dict(zip(_names(Reject), json.loads(content), strict=True)))


def header(path: str, member: str, shared: Common, content: str) -> Header:
    """What :func:`dump` wrote."""
    values = dict(zip(_names(Header), _tuples(json.loads(content)), strict=True))
    values["frames"] = tuple(Frame(*frame) for frame in values["frames"])
    return Header(path=path, member=member, common=shared, **values)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
