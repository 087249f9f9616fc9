"""FreeSurfer's labels of the brain, as far as the training uses them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """One label of a label map.

    Attributes:
        value: FreeSurfer's number.
        tissue: structures of one tissue get the same mean when a contrast is drawn.
        t1: mean on a T1w image, white matter near 1.
    """

    value: int
    tissue: str
    t1: float


def _both(left: int, right: int, tissue: str, t1: float) -> tuple[Structure, Structure]:
    return Structure(left, tissue, t1), Structure(right, tissue, t1)


#: Means on T1w are rounded from the order of tissues at 3 T; each drawing moves them.
STRUCTURES = (
    *_both(2, 41, "white matter", 0.95),
    *_both(3, 42, "cortex", 0.66),
    *_both(4, 43, "fluid", 0.17),
    *_both(5, 44, "fluid", 0.17),
    *_both(7, 46, "cerebellar white matter", 0.92),
    *_both(8, 47, "cerebellar cortex", 0.62),
    *_both(10, 49, "thalamus", 0.78),
    *_both(11, 50, "striatum", 0.70),
    *_both(12, 51, "striatum", 0.70),
    *_both(13, 52, "pallidum", 0.86),
    *_both(17, 53, "limbic", 0.64),
    *_both(18, 54, "limbic", 0.64),
    *_both(26, 58, "striatum", 0.70),
    *_both(28, 60, "brain stem", 0.84),
    Structure(14, "fluid", 0.17),
    Structure(15, "fluid", 0.17),
    Structure(16, "brain stem", 0.84),
    Structure(24, "fluid", 0.17),
)

TISSUES = tuple(dict.fromkeys(structure.tissue for structure in STRUCTURES))

#: Fluid outside the brain tells little about alignment and is not the same in all label maps.
NOT_SCORED = (24,)
