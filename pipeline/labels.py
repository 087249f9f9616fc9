"""The labels that segmentation writes, with their names, colours and codes."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError

Code = tuple[str, str]

ANATOMY: Code = ("91723000", "Anatomical Structure")
SUBSTANCE: Code = ("91720002", "Body Substance")
ABNORMAL: Code = ("49755003", "Morphologically Abnormal Structure")
TISSUE: Code = ("85756007", "Tissue")
LEFT: Code = ("7771000", "Left")
RIGHT: Code = ("24028007", "Right")


@dataclass(frozen=True)
class Label:
    """One label of a dseg image.

    Codes are those of SNOMED CT with their meanings, as DICOM PS3.16 lists them for segments: the
    category in CID 7150, the structure in CID 7151 and CID 7140, its modifier in CID 244 and CID 2.
    Colours of tissues are from the palette of Okabe and Ito, safe for the colour-blind.

    Attributes:
        index: value in the image.
        name: as in a dseg.tsv; FreeSurfer's where its numbers are used.
        color: ``#RRGGBB``.
        snomed: code and meaning of the structure.
        category: code and meaning of its kind.
        pair: index of the same structure on the other side; None where there is none.
        tissue: name in :data:`TISSUES` that the structure belongs to; empty where it is unknown.
        modifier: code and meaning of the side or the part.
        scheme: coding scheme of ``snomed``: DICOM has some structures of its own (``DCM``).
    """

    index: int
    name: str
    color: str
    snomed: Code = TISSUE
    category: Code = ANATOMY
    pair: int | None = None
    tissue: str = ""
    modifier: Code | None = None
    scheme: str = "SCT"

    def row(self) -> dict[str, Any]:
        """For the plan of a model, as JSON keeps it."""
        modifier = list(self.modifier) if self.modifier else None
        return {
            "index": self.index,
            "name": self.name,
            "color": self.color,
            "pair": self.pair,
            "tissue": self.tissue,
            "snomed": list(self.snomed),
            "category": list(self.category),
            "modifier": modifier,
            "scheme": self.scheme,
        }


TISSUES = (
    Label(1, "CSF", "#56B4E9", ("65216001", "Cerebrospinal Fluid"), SUBSTANCE, tissue="CSF"),
    Label(2, "GM", "#009E73", ("389081007", "Gray Matter"), tissue="GM"),
    Label(3, "WM", "#F0E442", ("389080008", "White Matter"), tissue="WM"),
    Label(4, "lesion", "#D55E00", ("52988006", "Lesion"), ABNORMAL, tissue="lesion"),
    Label(5, "lesion-core", "#CC79A7", ("6574001", "Necrosis"), ABNORMAL, tissue="lesion-core"),
)

BRAIN = Label(1, "brain", "#56B4E9", ("12738006", "Brain"))

HIPPOCAMPUS = (
    Label(
        1, "anterior-hippocampus", "#D55E00", ("5366008", "Hippocampus"), tissue="GM",
        modifier=("255549009", "Anterior"),
    ),
    Label(
        2, "posterior-hippocampus", "#0072B2", ("5366008", "Hippocampus"), tissue="GM",
        modifier=("255551008", "Posterior"),
    ),
)  # fmt: skip

#: FreeSurfer's numbers of the left and the right one, its name without the side, hue in degrees,
#: tissue, code, meaning, coding scheme.
_PAIRED = (
    (2, 41, "Cerebral-White-Matter", 55, "WM", "68523003", "Cerebral White Matter", "SCT"),
    (3, 42, "Cerebral-Cortex", 150, "GM", "40146001", "Cerebral Gray Matter", "SCT"),
    (4, 43, "Lateral-Ventricle", 205, "CSF", "66720007", "Lateral Ventricle", "SCT"),
    (5, 44, "Inf-Lat-Vent", 235, "CSF", "53118009", "Inferior Horn of Lateral Ventricle", "SCT"),
    (7, 46, "Cerebellum-White-Matter", 40, "WM", "33060004", "Cerebellar White Matter", "SCT"),
    (8, 47, "Cerebellum-Cortex", 120, "GM", "25991003", "Cerebellar Cortex", "SCT"),
    (10, 49, "Thalamus", 265, "GM", "119406000", "Thalamus", "SCT"),
    (11, 50, "Caudate", 300, "GM", "11000004", "Caudate Nucleus", "SCT"),
    (12, 51, "Putamen", 325, "GM", "89278009", "Putamen", "SCT"),
    (13, 52, "Pallidum", 280, "GM", "14738005", "Globus Pallidus", "SCT"),
    (17, 53, "Hippocampus", 12, "GM", "5366008", "Hippocampus", "SCT"),
    (18, 54, "Amygdala", 350, "GM", "4958002", "Amygdala", "SCT"),
    (26, 58, "Accumbens-area", 25, "GM", "427667007", "Nucleus Accumbens", "SCT"),
    (28, 60, "VentralDC", 80, "WM", "110700", "Ventral Diencephalon", "DCM"),
)


def _sides() -> list[Label]:
    found = []
    for left, right, name, hue, tissue, code, meaning, scheme in _PAIRED:
        for own, other, side, light in ((left, right, LEFT, 0.42), (right, left, RIGHT, 0.66)):
            red, green, blue = (
                round(255 * v) for v in colorsys.hls_to_rgb(hue / 360.0, light, 0.8)
            )
            color = f"#{red:02X}{green:02X}{blue:02X}"
            found.append(
                Label(
                    own, f"{side[1]}-{name}", color, (code, meaning), ANATOMY, other, tissue, side,
                    scheme,
                )
            )  # fmt: skip
    return found


#: Structures of the brain under FreeSurfer's numbers and names (Fischl et al. 2002,
#: doi:10.1016/S0896-6273(02)00569-X).
STRUCTURES = tuple(
    sorted(
        (
            *_sides(),
            Label(14, "3rd-Ventricle", "#00C2C7", ("49841001", "Third ventricle"), tissue="CSF"),
            Label(15, "4th-Ventricle", "#007C80", ("35918002", "Fourth Ventricle"), tissue="CSF"),
            Label(16, "Brain-Stem", "#9A9A9A", ("119238007", "Brain Stem"), tissue="WM"),
            Label(
                24, "CSF", "#56B4E9", ("65216001", "Cerebrospinal Fluid"), SUBSTANCE, None, "CSF"
            ),
        ),
        key=lambda item: item.index,
    )
)

_TABLES = {"tissues": TISSUES, "brain": STRUCTURES, "hippocampus": HIPPOCAMPUS}


def known(name: str) -> tuple[Label, ...]:
    """A table of labels by its name: ``tissues``, ``brain`` or ``hippocampus``.

    Raises:
        VoxelwayError: E-LABELS for any other name.
    """
    if name not in _TABLES:
        hint = "Tables: " + ", ".join(_TABLES)
        raise VoxelwayError("E-LABELS", f"There is no table of labels {name!r}", hint=hint)
    return _TABLES[name]


def by_name(name: str) -> Label | None:
    """What the tables know about a name; None where they have none."""
    return next((item for table in _TABLES.values() for item in table if item.name == name), None)


def of_row(row: Mapping[str, Any]) -> Label:
    """A label of a plan's row; what the row leaves out comes from the tables, by its name.

    Raises:
        VoxelwayError: E-LABELS without an index or a name.
    """
    try:
        index, name = int(row["index"]), str(row["name"])
    except (KeyError, TypeError, ValueError) as error:
        what = "A label has an index (a whole number) and a name"
        raise VoxelwayError("E-LABELS", what) from error
    like = by_name(name) or Label(index, name, color_of(index), TISSUE, TISSUE)
    codes = {
        key: (str(row[key][0]), str(row[key][1]))
        for key in ("snomed", "category", "modifier")
        if row.get(key)
    }
    pair = row.get("pair", like.pair if like.index == index else None)
    return Label(
        index,
        name,
        str(row.get("color") or like.color),
        codes.get("snomed", like.snomed),
        codes.get("category", like.category),
        None if pair is None else int(pair),
        str(row.get("tissue") or like.tissue),
        codes.get("modifier", like.modifier),
        str(row.get("scheme") or like.scheme),
    )


def color_of(index: int) -> str:
    """A colour for a label that brings none: neighbouring numbers get hues far apart."""
    red, green, blue = colorsys.hls_to_rgb((index * 0.618034) % 1.0, 0.45 + 0.1 * (index % 3), 0.7)
    return f"#{round(255 * red):02X}{round(255 * green):02X}{round(255 * blue):02X}"


#: Tissue → labels that stand for all of it, one of which a table has to have.
_TELLING = {
    "CSF": ("CSF",),
    "GM": ("GM", "Left-Cerebral-Cortex", "Right-Cerebral-Cortex"),
    "WM": ("WM", "Left-Cerebral-White-Matter", "Right-Cerebral-White-Matter"),
    "lesion": ("lesion",),
    "lesion-core": ("lesion-core",),
}


def tissues_of(table: Iterable[Label]) -> dict[str, list[Label]]:
    """Tissue → the labels of a table that make it up.

    A tissue of which the table has parts only, as the ventricles of CSF, is left out: a part must
    not be taken for the whole.
    """
    known = list(table)
    names = {label.name for label in known}
    return {
        tissue: [label for label in known if label.tissue == tissue]
        for tissue, telling in _TELLING.items()
        if names.intersection(telling)
    }


def write_table(labels: tuple[Label, ...], path: Path) -> None:
    """Write a BIDS dseg.tsv: index, name, color."""
    rows = [{"index": item.index, "name": item.name, "color": item.color} for item in labels]
    files.write_tsv(path, ("index", "name", "color"), rows)


def read_table(path: Path) -> dict[int, str]:
    """Read a dseg.tsv: index → name.

    Raises:
        VoxelwayError: E-LABELS without the columns index and name.
    """
    return {item.index: item.name for item in read(path)}


def read(path: Path) -> tuple[Label, ...]:
    """Labels of a dseg.tsv; codes, pairs and tissues come from the tables, by name.

    Raises:
        VoxelwayError: E-LABELS without the columns index and name.
    """
    rows = files.read_tsv(path)
    try:
        return tuple(_of_table(row) for row in rows)
    except (KeyError, ValueError) as error:
        what = "The columns index (whole numbers) and name are needed"
        raise VoxelwayError("E-LABELS", what, where=str(path)) from error


def beside(path: Path) -> tuple[Label, ...] | None:
    """Labels of the dseg.tsv that stands beside a label image; None where there is none.

    Raises:
        VoxelwayError: E-LABELS without the columns index and name.
    """
    table = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")
    return read(table) if table.is_file() else None


def _of_table(row: Mapping[str, str]) -> Label:
    index, name = int(row["index"]), row["name"]
    color = row.get("color", "")
    sound = len(color) == 7 and color.startswith("#")
    return of_row({"index": index, "name": name, "color": color if sound else ""})
