"""The labels that segmentation writes, with their names, colours and codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Label:
    """One label of a dseg image.

    ``snomed`` and ``category`` are SNOMED CT codes with their meanings, as DICOM PS3.16 lists
    them for segments in CID 7151 and CID 7150.
    Colours are from the palette of Okabe and Ito, safe for the colour-blind.
    """

    index: int
    name: str
    color: str
    snomed: tuple[str, str]
    category: tuple[str, str] = ("91723000", "Anatomical Structure")


TISSUES = (
    Label(1, "CSF", "#56B4E9", ("65216001", "Cerebrospinal Fluid"), ("91720002", "Body Substance")),
    Label(2, "GM", "#009E73", ("389081007", "Gray Matter")),
    Label(3, "WM", "#F0E442", ("389080008", "White Matter")),
    Label(
        4,
        "lesion",
        "#D55E00",
        ("52988006", "Lesion"),
        ("49755003", "Morphologically Abnormal Structure"),
    ),
    Label(
        5,
        "lesion-core",
        "#CC79A7",
        ("6574001", "Necrosis"),
        ("49755003", "Morphologically Abnormal Structure"),
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
