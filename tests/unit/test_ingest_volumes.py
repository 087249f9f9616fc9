"""Volumes of a 4D series, parts of a stack, messages and names of dcm2niix, gzip by all cores."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEGExtended12Bit

from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import copies, deflate, mosaic, parts, times, tool
from pipeline.ingest.folder import convert_folder
from pipeline.ingest.headers import Header, read_header
from pipeline.ingest.volume import Series, Volume, volumes

from .edge_cases import SLICES, again, brighter, edit, later, write
from .ingest_dicom import params


def read(paths: list[Path]) -> Volume:
    found = [read_header(str(path)) for path in paths]
    headers = tuple(header for header in found if isinstance(header, Header))
    assert len(headers) == len(paths)
    (only,) = volumes(Series("s1", headers))
    return only


def test_time_points_are_told_apart_and_keep_their_order(tmp_path: Path) -> None:
    first = write(tmp_path)
    second = later(first)
    found = times.split(read(second[::-1] + first))
    assert [len(part.planes) for part in found] == [SLICES, SLICES]
    wanted = [[str(path) for path in paths] for paths in (first, second)]
    assert [[plane.header.path for plane in part.planes] for part in found] == wanted


def test_what_was_sent_twice_is_not_4d(tmp_path: Path) -> None:
    first = write(tmp_path)
    both = read(first + again(first, ImageComments=""))
    assert len(times.split(both)) == 1
    kept = copies.without_copies(both)
    assert kept is not None and kept[1] == SLICES and len(kept[0].planes) == SLICES
    assert len(kept[0].series.headers) == SLICES


def test_copies_that_differ_by_one_value_are_not_dropped(tmp_path: Path) -> None:
    first = write(tmp_path)
    second = again(first, ImageComments="")
    brighter(second[3])
    assert copies.without_copies(read(first + second)) is None
    edit(second[4], RescaleSlope="2", RescaleIntercept="0")
    assert copies.without_copies(read([first[4], second[4]])) is None


def test_4d_series_becomes_a_4d_image(tmp_path: Path) -> None:
    later(write(tmp_path / "dicom"))
    chosen = params(take="all")
    # a 4D T1w is not what the protocol asks for
    with pytest.raises(VoxelwayError, match="E-DCM-NONE"):
        convert_folder(tmp_path / "dicom", tmp_path / "none", chosen)
    chosen = params(take="all", protocol=[{"suffix": "T2w", "description": "t2"}])
    assert convert_folder(tmp_path / "dicom", tmp_path / "bids", chosen) == Exit.DONE
    (path,) = (tmp_path / "bids" / "unsorted").rglob("*_MR.nii.gz")
    values = np.asarray(nib.load(path).dataobj).astype(int)
    assert values.shape[2:] == (SLICES, 2)
    assert np.all(values[..., 1] - values[..., 0] == 7)


def test_acquisitions_that_were_repeated_are_no_parts(tmp_path: Path) -> None:
    first = read(write(tmp_path / "a", number=2))
    second = read(write(tmp_path / "b", number=3))
    second = Volume(Series("s2", second.series.headers), second.planes, None)
    assert parts.torn([first, second]) == {}
    halves = [
        Volume(Series(name, first.series.headers), planes, None)
        for name, planes in (("s1", first.planes[:9]), ("s2", first.planes[9:]))
    ]
    found = parts.torn([*halves, second])
    assert set(found) == {0, 1} and "9 slices and the 7" in found[0].message


def test_names_of_dcm2niix() -> None:
    names = {"image": "", "image_e2_ph": "", "image_Eq_1": "_Eq", "image_Tilt_Eq_1": "_Tilt_Eq",
             "image_e1_Tilt_1": "_Tilt"}  # fmt: skip
    for name, resampled in names.items():
        output = tool.Output(Path(f"/x/{name}.nii"))
        assert output.resampled == resampled and output.suffix == name.removeprefix("image")


def test_messages_of_dcm2niix_are_told_in_known_words_only() -> None:
    said = (
        "Chris Rorden's dcm2niiX version\n"
        "Warning: Interslice distance varies in this volume (incompatible with NIfTI format).\n"
        "Warning: Missing images? Expected 9 images\n"
        "Warning: Doe^Jane is no name of a protocol\n"
        "Only able to correct gantry tilt for 16-bit integer data with at least 3 slices.\n"
        "Convert 1 DICOM as /tmp/Doe_Jane\n"
    )
    told = tool.warnings(said)
    assert told == [
        "slices seem to be missing",
        "the distance between slices varies",
        "the gantry was tilted",
        "the slices could not be resampled",
        "1 other messages",
    ]


def test_tiles_of_a_mosaic_are_read_by_rows() -> None:
    whole = np.arange(36).reshape(6, 6)
    assert mosaic.tile(whole, 3, 3, 2).tolist() == [[18, 19], [24, 25], [30, 31]]


def test_mosaic_without_its_private_header_has_no_place(tmp_path: Path) -> None:
    path = write(tmp_path)[0]
    edit(path, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    found = read_header(str(path))
    assert isinstance(found, Header) and found.frames[0].position is None


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_gzip_by_blocks_is_one_plain_stream(content: bytes, times_: int, level: int) -> None:
    whole = content * times_
    before = deflate.BLOCK, deflate.WINDOW
    deflate.BLOCK, deflate.WINDOW = 256, 64
    try:
        made = b"".join(deflate.gzipped(whole, level))
    finally:
        deflate.BLOCK, deflate.WINDOW = before
    assert gzip.decompress(made) == whole
    # one member: readers that stop after the first lose nothing
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert stream.decompress(made) == whole and stream.eof and not stream.unused_data


def jpeg(path: Path) -> None:
    """Compress a file as 12-bit JPEG, in place."""
    import gdcm

    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.save_as(path, enforce_file_format=True)
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    syntax = gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4)
    change.SetTransferSyntax(syntax)
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEGExtended12Bit


def test_twelve_bit_jpeg_is_converted(tmp_path: Path) -> None:
    paths = write(tmp_path / "dicom")
    assert convert_folder(tmp_path / "dicom", tmp_path / "sound", params()) == Exit.DONE
    for path in paths:
        jpeg(path)
    assert convert_folder(tmp_path / "dicom", tmp_path / "bids", params()) == Exit.DONE
    (found,) = (tmp_path / "bids").rglob("*_T1w.nii.gz")
    (sound,) = (tmp_path / "sound").rglob("*_T1w.nii.gz")
    wanted = np.asarray(nib.load(sound).dataobj).astype(int)
    values = np.asarray(nib.load(found).dataobj).astype(int)
    # lossy: near, and not the same
    assert 0 < np.abs(values - wanted).max() < 40 and wanted.max() > 255
    content = json.loads(found.with_suffix("").with_suffix(".json").read_text())
    assert content["ConversionDecoder"] == "pydicom" and content["SlicesCompared"] == SLICES
