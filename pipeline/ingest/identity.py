"""Pseudonyms by keyed hash; the key stays beside the results, never in them.

A pseudonym is HMAC-SHA-256 of the identifier under a random key of 32 bytes, of which 50 bits are
kept, as lower-case base32 behind a letter (a label of digits alone would be read as a number).
Whoever holds the results but not the key can't test a guessed identifier (NIST SP 800-188, 4.3).
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import unicodedata
from pathlib import Path

from pipeline.errors import VoxelwayError, from_os_error
from pipeline.paths import Results

KEY_NAME = "pseudonym.key"
KEY_BYTES = 32
LABEL_CHARACTERS = 10


def normalised(patient_id: str) -> str:
    """One spelling of a PatientID: without padding, NFKC, upper case.

    Leading zeros are kept, because 7 and 007 may be two people.
    """
    text = unicodedata.normalize("NFKC", patient_id).replace("\0", " ")
    return " ".join(text.split()).upper()


def pseudonym(key: bytes, patient_id: str) -> str:
    """BIDS label of a subject, for example ``p7x2kqa5mbd``.

    Raises:
        VoxelwayError: D-NO-PATIENT when the identifier is empty.
    """
    name = normalised(patient_id)
    if not name:
        hint = "Complete PatientID at the source and export the series again"
        raise VoxelwayError("D-NO-PATIENT", "PatientID is empty", hint=hint)
    return "p" + _label(key, f"patient:{name}")


def same_pseudonym(label: str) -> VoxelwayError:
    """The error of two patients whose hashes begin alike: one in 10^9 cohorts of 1,000."""
    hint = "Index one of them into results of their own, which have another key"
    what = "Two patients get the same pseudonym under this key; nothing was written for them"
    return VoxelwayError("E-PSEUDONYM", what, where=label, hint=hint)


def series_label(key: bytes, series_uid: str) -> str:
    """Pseudonymous id of a series, for example ``s4jvq0t2aab``."""
    return "s" + _label(key, f"series:{series_uid}")


def instance_label(key: bytes, sop_uid: str) -> str:
    """Pseudonymous id of one object, for the name of its de-identified file."""
    return "i" + _label(key, f"instance:{sop_uid}")


def file_label(key: bytes, path: str) -> str:
    """Pseudonymous id of a file whose series is not known."""
    return "f" + _label(key, f"file:{path}")


def _label(key: bytes, text: str) -> str:
    digest = hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")
    return base64.b32encode(digest).decode("ascii").lower()[:LABEL_CHARACTERS]


def read_key(results: Results) -> bytes:
    """The key of a results folder.

    Raises:
        VoxelwayError: E-FILE-READ when it is absent or too short.
    """
    return read_key_file(results.private / KEY_NAME)


def read_key_file(path: Path) -> bytes:
    """The key in a file: 64 hexadecimal digits or more.

    Raises:
        VoxelwayError: E-FILE-READ when the file is absent, no key or too short.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise VoxelwayError("E-FILE-READ", "The key is not hexadecimal", where=str(path)) from error
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    if len(key) < KEY_BYTES:
        what = f"The key has {len(key)} bytes, {KEY_BYTES} are needed"
        raise VoxelwayError("E-FILE-READ", what, where=str(path))
    return key


def make_key(results: Results) -> bytes:
    """The key of a results folder, made at first use (folder 0700, file 0600).

    Raises:
        VoxelwayError: E-FILE-READ when results exist whose key is gone; E-DIR-WRITE.
    """
    path = results.private / KEY_NAME
    if path.is_file():
        return read_key(results)
    if results.manifest.is_file():
        hint = "Put the folder back, or choose another results folder: a new key gives new names"
        what = "These results have pseudonyms, and the key they were made with is gone"
        raise VoxelwayError("E-FILE-READ", what, where=str(path), hint=hint)
    private_folder(results.private)
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(key.hex() + "\n")
    except FileExistsError:
        return read_key(results)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    return key


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    return path
