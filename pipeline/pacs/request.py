"""What to pull: rows of a table, or one query, in the words of DICOM."""

from __future__ import annotations

import csv
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import VoxelwayError, from_os_error

#: Columns of a list, and words of a query, with the attributes they stand for.
IDENTIFIERS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "accession": "AccessionNumber",
    "series": "SeriesInstanceUID",
}
FILTERS = {
    "date": "StudyDate",
    "modality": "Modality",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
}
WORDS = {**IDENTIFIERS, **FILTERS}
_BY_NAME = {**{name.casefold(): name for name in WORDS.values()}, **WORDS}
_DATE = re.compile(r"\d{8}|\d{8}-(\d{8})?|-\d{8}")


@dataclass(frozen=True)
class Request:
    """One row of the list, or the query.

    Attributes:
        row: number of the row from 1, 0 for a query. Messages tell it, never the values.
        keys: attribute → value. Identifiers match exactly, ``StudyDate`` is a date or a range
            (``20240101-20241231``, open ends allowed), descriptions take ``*`` and ``?``.
    """

    row: int
    keys: Mapping[str, str]

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"row {self.row} of the list" if self.row else "the query"

    @property
    def of_study(self) -> dict[str, str]:
        """The part that the archive is asked at the level of studies."""
        names = ("PatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate")
        found = {name: self.keys[name] for name in names if name in self.keys}
        if "Modality" in self.keys:
            found["ModalitiesInStudy"] = self.keys["Modality"]
        return found

    def takes(self, answer: Mapping[str, str]) -> bool:
        """Whether an answer fits; archives may pass over keys that they do not know.

        What the answer does not tell does not speak against it.
        """
        return all(
            _matches(name, wanted, answer[name])
            for name, wanted in self.keys.items()
            if answer.get(name)
        )


def _matches(name: str, wanted: str, found: str) -> bool:
    found = found.strip()
    if name == "StudyDate":
        low, dash, high = wanted.partition("-")
        return found == low if not dash else (low or found) <= found <= (high or found)
    if name.endswith("Description"):
        # DICOM knows * and ?; brackets stand for themselves
        pattern = wanted.replace("[", "[[]").casefold()
        return fnmatch.fnmatchcase(found.casefold(), pattern)
    return found.casefold() == wanted.casefold()


def of_query(pairs: Sequence[str]) -> Request:
    """A query of the command line, ``KEY=VALUE`` each.

    Raises:
        VoxelwayError: E-USAGE for identifiers (others on the machine see command lines), unknown
            keys, or a query without a date, which would ask for the whole archive.
    """
    keys: dict[str, str] = {}
    for pair in pairs:
        word, equals, value = pair.partition("=")
        name = _BY_NAME.get(word.strip().casefold())
        if not equals or name is None:
            what = f"--query takes KEY=VALUE with KEY one of {', '.join(FILTERS)}"
            raise VoxelwayError("E-USAGE", what)
        if name in IDENTIFIERS.values():
            what = "Identifiers do not belong on a command line, which others on the machine see"
            raise VoxelwayError("E-USAGE", what, hint="Put them into a table: --list FILE.tsv")
        keys[name] = value.strip()
    request = _checked(Request(0, keys), "E-USAGE")
    if "StudyDate" not in request.keys:
        what = "A query needs a date or a range of dates"
        raise VoxelwayError("E-USAGE", what, hint="As date=20240101-20240331")
    return request


def of_list(path: Path) -> list[Request]:
    """The rows of a tab-separated table with a heading; empty rows are passed over.

    Columns are the words of :data:`WORDS` or the attributes' names; others are not looked at. Each
    row needs a patient, a study or an accession number.

    Raises:
        VoxelwayError: E-PACS-LIST, which tells the row's number and never what stands in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            table = csv.DictReader(handle, delimiter="\t")
            columns = _columns(table.fieldnames or (), path)
            found = [_of_row(number, row, columns) for number, row in enumerate(table, 1)]
    except OSError as error:
        raise VoxelwayError("E-PACS-LIST", from_os_error(error).what, where=str(path)) from error
    except (csv.Error, UnicodeDecodeError) as error:
        what = "The file is no tab-separated text in UTF-8"
        raise VoxelwayError("E-PACS-LIST", what, where=str(path)) from error
    requests = [request for request in found if request is not None]
    if not requests:
        raise VoxelwayError("E-PACS-LIST", "The list has no row", where=str(path))
    return requests


def _columns(heading: Iterable[str], path: Path) -> dict[str, str]:
    """Column → attribute, of the columns that are known."""
    known = {
        column: _BY_NAME[column.strip().casefold()]
        for column in heading
        if column.strip().casefold() in _BY_NAME
    }
    if not set(known.values()) & set(IDENTIFIERS.values()):
        what = f"The heading has none of the columns {', '.join(IDENTIFIERS)}"
        hint = "The first row must name the columns, separated by tabs"
        raise VoxelwayError("E-PACS-LIST", what, where=str(path), hint=hint)
    return known


def _of_row(
    number: int, row: Mapping[str, str | None], columns: Mapping[str, str]
) -> Request | None:
    values = {name: (row.get(column) or "").strip() for column, name in columns.items()}
    keys = {name: value for name, value in values.items() if value}
    if not keys:
        return None
    request = _checked(Request(number, keys), "E-PACS-LIST")
    if not {"PatientID", "StudyInstanceUID", "AccessionNumber"} & set(keys):
        what = "The row needs a patient, a study or an accession number"
        raise VoxelwayError("E-PACS-LIST", what, where=request.where)
    return request


def _checked(request: Request, code: str) -> Request:
    for name, value in request.keys.items():
        exact = not name.endswith("Description")
        if exact and set(value) & set("*?\\"):
            what = f"{name} must be one exact value, without * ? and \\"
            raise VoxelwayError(code, what, where=request.where)
        if name == "StudyDate" and not _DATE.fullmatch(value):
            what = "A date is YYYYMMDD, a range is YYYYMMDD-YYYYMMDD"
            raise VoxelwayError(code, what, where=request.where)
    if "SeriesInstanceUID" in request.keys and "StudyInstanceUID" not in request.keys:
        what = "A series needs its study beside it"
        raise VoxelwayError(code, what, where=request.where)
    return request
