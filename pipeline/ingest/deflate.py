"""Gzip by all cores that we may use; the bytes do not depend on how many they are.

One stream (RFC 1952) of blocks that are deflated side by side, each with the 32 KB before it as its
dictionary, so that it may point back into them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

BLOCK = 4 << 20
WINDOW = 1 << 15
#: Magic number, deflate, no flags, no time, no extra flags, unknown system.
HEAD = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"


def gzipped(content: bytes | bytearray, level: int) -> Iterator[bytes]:
    """The parts of a gzip file, to be written one after the other."""
    view = memoryview(content)

    def block(start: int) -> bytes:
        last = start + BLOCK >= len(view)
        before = view[max(0, start - WINDOW) : start]
        kind = (level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_DEFAULT_STRATEGY)
        work = zlib.compressobj(*kind, zdict=before) if start else zlib.compressobj(*kind)
        part = work.compress(view[start : start + BLOCK])
        return part + work.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

    yield HEAD
    # zlib lets other threads work
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        check = pool.submit(zlib.crc32, view)
        yield from pool.map(block, range(0, max(1, len(view)), BLOCK))
        yield struct.pack("<II", check.result(), len(view) % (1 << 32))
