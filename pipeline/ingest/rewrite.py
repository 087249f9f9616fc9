"""Files that dcm2niix can't read, written again with plain pixels and a complete header."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError
from pipeline.quiet import quiet


def read_whole(path: str) -> Any:
    """A file with its pixels; its transfer syntax is told even where it has no meta header.

    Raises:
        Exception: whatever pydicom meets a damaged file with.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGExtended12Bit

    dataset = pydicom.dcmread(path, force=True)
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        meta = dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in meta:
        implicit, _ = dataset.original_encoding
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    if meta.TransferSyntaxUID == JPEGExtended12Bit and int(dataset.BitsStored) > 8:
        return _by_gdcm(path)
    return dataset


def _by_gdcm(path: str) -> Any:
    """JPEG of 12 bits, which pydicom hands to no decoder although GDCM has one."""
    import gdcm
    import pydicom

    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(path)
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    if not reader.Read():
        raise ValueError("GDCM can't read the file")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise ValueError("GDCM can't decode the pixels")
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
        target = str(Path(name) / "plain.dcm")
        writer.SetFileName(target)
        if not writer.Write():
            raise ValueError("GDCM can't write the pixels")
        dataset = pydicom.dcmread(target)
        # the folder goes
        dataset.PixelData = bytes(dataset.PixelData)
    return dataset


def rewrite(path: str, target: Path) -> None:
    """Write a file with preamble, meta header and uncompressed pixels.

    Decoders are those that pydicom finds: GDCM, CharLS, OpenJPEG, RLE.

    Raises:
        VoxelwayError: D-CONVERT when no decoder reads the pixels.
    """
    from pydicom.uid import ExplicitVRLittleEndian

    try:
        with quiet():
            dataset = read_whole(path)
            meta = dataset.file_meta
            meta.MediaStorageSOPClassUID = dataset.SOPClassUID
            meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            if meta.TransferSyntaxUID.is_encapsulated:
                dataset.decompress(generate_instance_uid=False)
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(target, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except Exception as error:
        what = f"A file could not be rewritten for dcm2niix ({type(error).__name__})"
        raise VoxelwayError("D-CONVERT", what) from error
