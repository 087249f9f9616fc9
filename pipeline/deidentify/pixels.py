"""What hides beside the pixels: bytes after the last one, overlays in spare bits, comments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_fragmented_frames
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

PIXELS = 0x7FE00010
#: Markers of JPEG and JPEG-LS without a length: SOI, EOI, RST0 to 7, TEM.
_BARE = {0xD8, 0xD9, 0x01, *range(0xD0, 0xD8)}
_START_OF_SCAN = 0xDA
#: Markers of segments that hold what is no picture: APP0 to 15 and the comment.
_TALK = {*range(0xE0, 0xF0), 0xFE}
#: The comment of JPEG 2000 and the markers that end its main header.
_J2K_COMMENT, _J2K_TILE = 0x64, 0x90


def tidy_pixels(dataset: Dataset, syntax: UID) -> None:
    """Take out of the pixel data, in place, what is no pixel.

    Native pixels are cut to the length that the header tells, and bits that hold an old overlay
    (PS3.5, 8.1.2) are cleared; of JPEG streams the comments and application segments go.
    """
    if PIXELS not in dataset:
        return
    if syntax.is_encapsulated:
        _tidy_streams(dataset, syntax)
        return
    pixels = dataset[PIXELS]
    count = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("SamplesPerPixel", 1))
    count *= int(dataset.get("NumberOfFrames", 1) or 1)
    bits = int(dataset.BitsAllocated)
    length = (count * bits + 7) // 8
    value = pixels.value
    if len(value) > length:
        value = value[:length] + b"\0" * (length % 2)
    if _has_overlay_bits(dataset) and bits == 16:
        value = _without_spare_bits(value, dataset)
    if value is not pixels.value:
        pixels.value = value


def is_lookup_table(item: Dataset) -> bool:
    """Whether LUTData is as long as LUTDescriptor tells: one or two bytes an entry (C.11.1)."""
    described, value = item.get("LUTDescriptor"), item["LUTData"].value
    if not isinstance(described, Sequence) or len(described) != 3:
        return False
    entries = int(described[0]) or 65536
    if isinstance(value, bytes):
        return len(value) in (entries + entries % 2, 2 * entries)
    return isinstance(value, Sequence) and len(value) == entries


def _has_overlay_bits(dataset: Dataset) -> bool:
    """Whether a group of overlays says that its bits lie among the pixels."""
    places = [tag for tag in dataset.keys() if tag.group & 0xFF00 == 0x6000]  # noqa: SIM118
    return any(tag.element == 0x0102 and tag + (0x3000 - 0x0102) not in dataset for tag in places)


def _without_spare_bits(value: bytes, dataset: Dataset) -> bytes:
    """Clear the bits above BitsStored; a signed value is extended by its sign."""
    stored, top = int(dataset.BitsStored), int(dataset.HighBit)
    order = "<" if dataset.original_encoding[1] else ">"
    if stored >= 16 or top != stored - 1:
        return value
    words = np.frombuffer(value, dtype=f"{order}i2").astype(np.int16)
    shift = 16 - stored
    raised = (words.astype(np.uint16) << shift).astype(np.uint16)
    signed = int(dataset.get("PixelRepresentation", 0)) == 1
    cleared = raised.view(np.int16) >> shift if signed else raised >> shift
    return cleared.astype(f"{order}i2" if signed else f"{order}u2").tobytes()


def _tidy_streams(dataset: Dataset, syntax: UID) -> None:
    jpeg = syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes
    if not jpeg and syntax not in JPEG2000TransferSyntaxes:
        return
    frames = [
        [b"".join(parts)]
        for parts in generate_fragmented_frames(
            dataset[PIXELS].value, number_of_frames=int(dataset.get("NumberOfFrames", 1) or 1)
        )
    ]
    strip = without_talk if jpeg else without_comments
    cleaned = [strip(frame[0]) for frame in frames]
    if cleaned == [frame[0] for frame in frames]:
        return
    dataset[PIXELS].value = encapsulate(cleaned, has_bot=len(cleaned) > 1)
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)


def without_talk(stream: bytes) -> bytes:
    """A JPEG or JPEG-LS stream without comments and application segments (ISO 10918-1, B.2.4)."""
    kept, place = [stream[:2]], 2
    while place + 4 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if marker in _BARE or marker == _START_OF_SCAN:
            break
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        if marker not in _TALK or stream[place + 4 : place + 9] == b"Adobe":
            kept.append(stream[place:end])
        place = end
    return b"".join([*kept, stream[place:]])


def without_comments(stream: bytes) -> bytes:
    """A JPEG 2000 codestream without comments in its main header (ISO 15444-1, A.9.2)."""
    if stream[:2] != b"\xff\x4f":
        return stream
    kept, place = [stream[:2]], 2
    while place + 4 <= len(stream) and stream[place] == 0xFF and stream[place + 1] != _J2K_TILE:
        end = place + 2 + int.from_bytes(stream[place + 2 : place + 4], "big")
        if stream[place + 1] != _J2K_COMMENT:
            kept.append(stream[place:end])
        place = end
    return b"".join([*kept, stream[place:]])
