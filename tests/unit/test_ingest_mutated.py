"""A thousand files damaged at random: none ends or holds up the index, each is accounted for."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from pipeline import files
from pipeline.errors import VoxelwayError
from pipeline.ingest import cache
from pipeline.ingest.headers import Header, Reject, read_header
from pipeline.ingest.index import index_folder
from pipeline.ingest.manifest import read_manifest, units
from pipeline.ingest.source import read_sources
from pipeline.paths import Results

from .ingest_dicom import params, series

COUNT = 1000
#: Seconds for one file; a sound one takes a few milliseconds.
PATIENCE = 5.0
Mutation = Callable[[bytearray, random.Random], None]


def bits(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 3, 30])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def head_bits(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 5, 20])):
        content[draw.randrange(128, min(len(content), 900))] ^= 1 << draw.randrange(8)


def shorter(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def longer(content: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(content))
    content[place:place] = draw.randbytes(draw.choice([1, 8, 500]))


def lengths(content: bytearray, draw: random.Random) -> None:
    place = draw.choice(_elements(content)) + 6
    value = draw.choice([0, 1, 7, 0x7FFF, 0xFFFE, 0xFFFF])
    content[place : place + 2] = struct.pack("<H", value)


def long_lengths(content: bytearray, draw: random.Random) -> None:
    place = draw.choice(_elements(content)) + 4
    vr = draw.choice([b"OB", b"SQ", b"UN", b"UT", b"OW"])
    value = draw.choice([0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0x10000, 1])
    content[place : place + 8] = vr + b"\0\0" + struct.pack("<I", value)


def tags(content: bytearray, draw: random.Random) -> None:
    place = draw.choice(_elements(content))
    known = struct.pack("<HH", *draw.choice([(0xFFFE, 0xE00D), (0xFFFE, 0xE0DD), (0x5200, 0x9230),
                                             (0x7FE0, 0x10), (0x28, 0x10), (0, 0)]))  # fmt: skip
    content[place : place + 4] = draw.choice([known, draw.randbytes(4)])


def kinds(content: bytearray, draw: random.Random) -> None:
    place = draw.choice(_elements(content)) + 4
    content[place : place + 2] = draw.choice([b"SQ", b"DS", b"US", b"UI", b"FD", b"PN", b"\0\0"])


def values(content: bytearray, draw: random.Random) -> None:
    place = draw.choice(_elements(content)) + 8
    content[place : place + 6] = draw.choice([b"\xff" * 6, b"nan   ", b"1e999 ", b"\\\\\\\\\\\\"])


def swapped(content: bytearray, draw: random.Random) -> None:
    a, b = sorted(draw.sample(range(132, len(content)), 2))
    content[132:] = content[a:b] + content[132:a] + content[b:]


MUTATIONS: tuple[Mutation, ...] = (
    bits, head_bits, shorter, longer, lengths, long_lengths, tags, kinds, values, swapped,
)  # fmt: skip


def _elements(content: bytearray) -> list[int]:
    """Where something starts that looks like an element with explicit VR."""
    found = [
        place
        for place in range(132, min(len(content), 1500) - 8)
        if content[place + 4 : place + 6].isupper() and content[place + 4 : place + 6].isascii()
    ]
    return found or [132]


def sound(folder: Path) -> list[Path]:
    """One small file of each make: explicit, implicit, deflated, encapsulated, nested, bare."""
    paths = series(folder, slices=6)
    for number, syntax in enumerate((ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian), 1):
        dataset = pydicom.dcmread(paths[number])
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(paths[number], enforce_file_format=True, implicit_vr=number == 1)
    dataset = pydicom.dcmread(paths[3])
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(paths[3], enforce_file_format=True)
    dataset, inner = pydicom.dcmread(paths[4]), Dataset()
    for _ in range(30):
        outer = Dataset()
        outer.SharedFunctionalGroupsSequence = Sequence([inner])
        inner = outer
    dataset.SharedFunctionalGroupsSequence = inner.SharedFunctionalGroupsSequence
    dataset.save_as(paths[4], enforce_file_format=True)
    dataset = pydicom.dcmread(paths[5])
    del dataset.file_meta
    dataset.save_as(paths[5], implicit_vr=True, little_endian=True)
    return paths


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand damaged files; every fourth is damaged twice."""
    base = tmp_path_factory.mktemp("mutated")
    originals = [path.read_bytes() for path in sound(base / "sound")]
    draw = random.Random(20240229)
    for number in range(COUNT):
        content = bytearray(originals[number % len(originals)])
        for _ in range(2 if number % 4 == 0 else 1):
            if len(content) > 200:
                draw.choice(MUTATIONS)(content, draw)
        folder = base / "dicom" / f"{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04d}.dcm").write_bytes(content)
    return base


def test_sound_files_are_read(tmp_path: Path) -> None:
    found = [read_header(str(path)) for path in sound(tmp_path)]
    assert all(isinstance(item, Header) and item.frames[0].position for item in found)


def test_each_file_gives_an_answer_in_time(mutated: Path) -> None:
    taken = rejected = 0
    for path in sorted((mutated / "dicom").rglob("*.dcm")):
        started = time.perf_counter()
        found = read_header(str(path))
        assert time.perf_counter() - started < PATIENCE, path
        taken += isinstance(found, Header)
        rejected += isinstance(found, Reject)
    # the damage is neither nothing nor all: both ways out are walked
    assert taken + rejected == COUNT and taken > 100 and rejected > 100


def test_index_of_damaged_files_accounts_for_each(mutated: Path) -> None:
    series(mutated / "dicom" / "good", "GOOD")
    results = Results(mutated / "results")
    index_folder(mutated / "dicom", results, params())
    every = {str(path.resolve()) for path in (mutated / "dicom").rglob("*.dcm")}
    listing = files.read_json(results.private / "quarantine.json")
    left = {path for paths in listing.values() for path in paths}
    rows = read_manifest(results.manifest)
    used = {
        item.path
        for unit in units(rows)
        for source in read_sources(results, unit).values()
        for item in source.files
    }
    assert len(used) >= 10 and used | left == every and not used & left
    with cache.reading(results, mutated / "dicom") as known:
        assert known is not None and known.count() == COUNT + 10


def test_damaged_files_alone_are_refused_with_a_code(mutated: Path, tmp_path: Path) -> None:
    (tmp_path / "dicom").symlink_to(mutated / "dicom" / "3")
    with pytest.raises(VoxelwayError) as caught:
        index_folder(tmp_path / "dicom", Results(tmp_path / "results"), params())
    assert caught.value.code == "E-DCM-NONE"
