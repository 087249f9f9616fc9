"""What the statistics of a measure mean: better, worse, or nothing that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.compare.pairs import Group, Key
from pipeline.evaluate import inference, registry
from pipeline.evaluate.inference import FEWEST, LEVEL, Inference
from pipeline.report.measures import Number

#: ``split``: most cases go one way and their mean the other. ``differs``: no way is better.
Outcome = Literal["better", "worse", "split", "differs", "untold", "same", "few", "none"]

WORDS: dict[Outcome, str] = {
    "better": "better",
    "worse": "worse",
    "split": "most cases one way, the mean the other",
    "differs": "differs",
    "untold": "no difference told",
    "same": "the same",
    "few": "too few cases",
    "none": "no case in both",
}
#: What the reader has to see first.
FIRST: tuple[Outcome, ...] = (
    "worse", "split", "better", "differs", "untold", "few", "same", "none"
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measure of one thing, compared.

    Attributes:
        group: its cases.
        subjects: subject → means in A and B of the compared quantity.
        inference: their statistics; None where nothing pairs.
        holm: p-value corrected over the page.
        outcome: what it means for B.
    """

    group: Group
    subjects: dict[str, tuple[float, float]]
    inference: Inference | None
    holm: float | None
    outcome: Outcome

    @property
    def key(self) -> Key:
        """What the numbers are of."""
        return self.group.key

    @property
    def shown(self) -> Number:
        """The measure as the other pages name it."""
        return Number(self.key.stage, self.key.metric, self.key.label, "", "", self.key.unit)

    @property
    def told(self) -> bool:
        """Whether a difference was told."""
        return self.outcome in ("better", "worse", "split", "differs")

    @property
    def size(self) -> float:
        """Size of the effect, for sorting."""
        effect = self.inference.dz if self.inference else None
        return abs(effect) if effect is not None else 0.0


def compare(groups: Sequence[Group], seed: int) -> list[Row]:
    """Test every group; those that matter come first."""
    subjects = [group.subjects() for group in groups]
    found = [_infer(pairs, seed) for pairs in subjects]
    corrected = inference.holm([one.p if one else None for one in found])
    rows = [
        Row(group, pairs, one, p, outcome(group.key, one, p))
        for group, pairs, one, p in zip(groups, subjects, found, corrected, strict=True)
    ]
    return sorted(rows, key=lambda row: (FIRST.index(row.outcome), -row.size, row.key.order))


def _infer(pairs: dict[str, tuple[float, float]], seed: int) -> Inference | None:
    if not pairs:
        return None
    a, b = zip(*pairs.values(), strict=True)
    return inference.infer(a, b, seed)


def outcome(key: Key, found: Inference | None, holm: float | None) -> Outcome:
    """What the statistics of one measure mean for run B."""
    if found is None:
        return "none"
    if found.changed == 0:
        return "same"
    if found.n < FEWEST:
        return "few"
    if holm is None or holm > LEVEL:
        return "untold"
    if key.direction == "none":
        return "differs"
    ranks = found.rank_biserial or 0.0
    if ranks * found.difference <= 0:
        return "split"
    improved = registry.improved(key.metric, found.mean_b, found.mean_a)
    return "better" if improved else "worse"
