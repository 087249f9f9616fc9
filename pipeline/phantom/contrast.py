"""Signal of a tissue in MPRAGE, TSE and FLAIR, from its T1, T2 and proton density at 3 T.

Times are in milliseconds, angles in degrees, signals relative to pure water's magnetisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """Relaxation times (ms) and relative proton density at 3 T."""

    t1: float
    t2: float
    pd: float
    source: str


_STANISZ = "Stanisz et al. 2005, Magn Reson Med 54:507-512"
_TOFTS = "Tofts 2003, Quantitative MRI of the Brain, ch. 4"
_GOLD = "Gold et al. 2004, AJR 183:343-351"
_CHOSEN = "chosen for this phantom"

#: Keys are also the names of the fractions in head.py and subject.py.
TISSUES: dict[str, Tissue] = {
    "csf": Tissue(
        4163.0,
        2000.0,
        1.00,
        "T1: Clare and Jezzard 2001, Magn Reson Med 45:630-634; "
        "T2 rounded from Spijkerman et al. 2018, MAGMA 31:415-424; density: that of water",
    ),
    "gm": Tissue(1820.0, 99.0, 0.82, f"T1, T2: {_STANISZ}; density: {_TOFTS}"),
    "wm": Tissue(1084.0, 69.0, 0.70, f"T1, T2: {_STANISZ}; density: {_TOFTS}"),
    # Between white matter and water, as oedema and gliosis are
    "lesion": Tissue(1500.0, 130.0, 0.84, f"T1, T2, density: {_CHOSEN}"),
    # A fluid with protein: dark in T1w, bright in T2w, darker than the rim in FLAIR
    "core": Tissue(3000.0, 450.0, 0.95, f"T1, T2, density: {_CHOSEN}"),
    # Cortical bone: its T2 is so short that TSE and MPRAGE see nothing
    "bone": Tissue(250.0, 0.4, 0.20, f"T1, T2, density: {_CHOSEN}, order of ultrashort-TE studies"),
    "marrow": Tissue(365.0, 133.0, 0.35, f"T1, T2: {_GOLD}; density: {_CHOSEN}"),
    "fat": Tissue(371.0, 133.0, 0.60, f"T1, T2: {_GOLD}; density: {_CHOSEN}"),
    "muscle": Tissue(1412.0, 50.0, 0.75, f"T1, T2: {_STANISZ}; density: {_CHOSEN}"),
}


class Sequence(Protocol):
    """A pulse sequence that gives a tissue its signal."""

    def signal(self, tissue: Tissue) -> float:
        """Magnitude at the centre of k-space."""


@dataclass(frozen=True)
class Mprage:
    """Magnetisation-prepared rapid gradient echo in its steady state.

    Mugler and Brookeman 1990, Magn Reson Med 15:152-157; Deichmann et al. 2000, NeuroImage
    12:112-127. ``tr`` runs from inversion to inversion, ``ti`` from inversion to the echo that
    fills the centre of k-space, ``spacing`` between the ``echoes`` excitations of one partition
    loop. T2 stands in for T2* (``te`` is short beside both).
    """

    tr: float
    ti: float
    te: float
    flip: float
    spacing: float = 7.0
    echoes: int = 160
    efficiency: float = 0.96

    def signal(self, tissue: Tissue) -> float:
        """Magnitude of the transverse magnetisation at the centre of k-space."""
        cosine, sine = np.cos(np.deg2rad(self.flip)), np.sin(np.deg2rad(self.flip))
        before = self.echoes // 2
        lead = self.ti - before * self.spacing
        rest = self.tr - lead - self.echoes * self.spacing
        if lead < 0 or rest < 0:
            raise ValueError("the read-out does not fit between the inversions")

        def relax(line: Line, time: float) -> Line:
            e = float(np.exp(-time / tissue.t1))
            return line[0] * e, line[1] * e + 1.0 - e

        def excite(line: Line, times: int) -> Line:
            for _ in range(times):
                line = relax((line[0] * cosine, line[1] * cosine), self.spacing)
            return line

        # Mz is a straight line a m + b in the magnetisation m just before the inversion
        centre = excite(relax((-self.efficiency, 0.0), lead), before)
        end = relax(excite(centre, self.echoes - before), rest)
        steady = end[1] / (1.0 - end[0])
        mz = centre[0] * steady + centre[1]
        return float(tissue.pd * abs(mz) * sine * np.exp(-self.te / tissue.t2))


Line = tuple[float, float]


@dataclass(frozen=True)
class Tse:
    """Turbo spin echo: PD (1 - exp(-(TR - L) / T1)) exp(-TE / T2), L the echo train's length.

    Bernstein, King and Zhou 2004, Handbook of MRI Pulse Sequences, ch. 16.4.
    """

    tr: float
    te: float
    train: float = 200.0

    def signal(self, tissue: Tissue) -> float:
        """Magnitude at the effective echo time."""
        recovered = 1.0 - np.exp(-(self.tr - self.train) / tissue.t1)
        return float(tissue.pd * recovered * np.exp(-self.te / tissue.t2))


@dataclass(frozen=True)
class Flair:
    """Inversion recovery TSE: PD |1 - 2 exp(-TI / T1) + exp(-(TR - L) / T1)| exp(-TE / T2).

    De Coene et al. 1992, AJNR 13:1555-1564; Rydberg et al. 1995, Magn Reson Med 34:868-877.
    """

    tr: float
    te: float
    ti: float
    train: float = 200.0

    def signal(self, tissue: Tissue) -> float:
        """Magnitude at the effective echo time."""
        recovery = 1.0 - 2.0 * np.exp(-self.ti / tissue.t1)
        recovery += np.exp(-(self.tr - self.train) / tissue.t1)
        return float(tissue.pd * abs(recovery) * np.exp(-self.te / tissue.t2))


def nulling_time(t1: float, tr: float, train: float = 200.0) -> float:
    """Inversion time at which FLAIR shows nothing of a tissue with this T1, ms."""
    return float(t1 * np.log(2.0 / (1.0 + np.exp(-(tr - train) / t1))))
