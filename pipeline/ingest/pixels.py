"""Whether a DICOM file holds all the pixels that its header describes, without decoding them."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_END = (0xFFFE, 0xE0DD)
#: Explicit VRs whose length takes four bytes after two reserved ones.
_LONG = {b"OB", b"OW", b"OF", b"OD", b"OV", b"UN"}


def missing_bytes(stream: BinaryIO, dataset: Any, syntax: str, size: int) -> int:
    """How many bytes of pixels a file lacks; 0 when it is whole.

    Args:
        stream: file that pydicom has read up to the pixels.
        dataset: its header.
        syntax: transfer syntax UID.
        size: length of the file in bytes.
    """
    if syntax == DEFLATED:
        return 0  # zlib itself tells when the stream ends early
    expected = _expected(dataset)
    found = _pixel_element(stream, syntax)
    if found is None:
        return max(1, expected)
    start, length = found
    if length == UNDEFINED:
        return _missing_fragments(stream, start, size)
    beyond = start + length - size
    return max(0, beyond, expected - length)


def _expected(dataset: Any) -> int:
    """Bytes of uncompressed pixels that the header describes."""
    product = 1
    for keyword in ("Rows", "Columns", "BitsAllocated"):
        product *= int(dataset.get(keyword) or 0)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    frames = int(dataset.get("NumberOfFrames") or 1)
    return product * samples * frames // 8


def _pixel_element(stream: BinaryIO, syntax: str) -> tuple[int, int] | None:
    """Where the value of the pixel element starts and how long it says it is."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack(f"{order}HH", head[:4])
    if group != 0x7FE0 or element not in (0x0008, 0x0009, 0x0010):
        return None
    if syntax == IMPLICIT or head[4:6] not in _LONG:
        return stream.tell(), struct.unpack(f"{order}I", head[4:])[0]
    tail = stream.read(4)
    if len(tail) < 4:
        return None
    return stream.tell(), struct.unpack(f"{order}I", tail)[0]


def _missing_fragments(stream: BinaryIO, start: int, size: int) -> int:
    """Walk the fragments of encapsulated pixels (PS3.5 A.4); they must end within the file."""
    place, fragments = start, 0
    while place < size:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8:
            return 8 - len(head)
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == _END:
            # the first item is the offset table, the pixels follow it
            return 0 if fragments >= 2 else 1
        if (group, element) != _ITEM:
            return 1
        place += 8 + length
        fragments += 1
    # some writers leave out the delimiter; then the last fragment must end with the file
    return 0 if place == size and fragments >= 2 else max(1, place - size)
