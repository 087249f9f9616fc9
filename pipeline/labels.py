"""The labels that segmentation writes, with their names, colours and codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Label:
    """One label of a dseg image.

    ``snomed`` is the SNOMED CT code and its meaning, as DICOM's context groups list them.
    Colours are from the palette of Okabe and Ito, safe for the colour-blind.
    """

    index: int
    name: str
    color: str
    snomed: tuple[str, str]
    category: tuple[str, str] = ("123037004", "Anatomical Structure")


TISSUES = (
    Label(1, "CSF", "#56B4E9", ("279107003", "Cerebrospinal fluid")),
    Label(2, "GM", "#009E73", ("389080008", "Gray matter of brain")),
    Label(3, "WM", "#F0E442", ("389081007", "White matter of brain")),
    Label(
        4,
        "lesion",
        "#D55E00",
        ("52988006", "Lesion"),
        ("49755003", "Morphologically Altered Structure"),
    ),
    Label(
        5,
        "lesion-core",
        "#CC79A7",
        ("6574001", "Necrosis"),
        ("49755003", "Morphologically Altered Structure"),
    ),
)

BRAIN = Label(1, "brain", "#56B4E9", ("12738006", "Brain"))


def write_table(labels: tuple[Label, ...], path: Path) -> None:
    """Write a BIDS dseg.tsv: index, name, color."""
    rows = [{"index": item.index, "name": item.name, "color": item.color} for item in labels]
    files.write_tsv(path, ("index", "name", "color"), rows)


def read_table(path: Path) -> dict[int, str]:
    """Read a dseg.tsv: index → name.

    Raises:
        VoxelwayError: E-LABELS without the columns index and name.
    """
    rows = files.read_tsv(path)
    try:
        return {int(row["index"]): row["name"] for row in rows}
    except (KeyError, ValueError) as error:
        what = "The columns index (whole numbers) and name are needed"
        raise VoxelwayError("E-LABELS", what, where=str(path)) from error
