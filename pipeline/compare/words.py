"""The verdict on a comparison in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.compare.changes import COST
from pipeline.compare.outcome import Row
from pipeline.compare.runs import Unpaired
from pipeline.evaluate.inference import FEWEST, LEVEL, smallest_p
from pipeline.report.measures import short

Level = Literal["better", "worse", "mixed", "untold", "same", "few"]

HEADINGS: dict[Level, str] = {
    "better": "B is better than A",
    "worse": "B is worse than A",
    "mixed": "B is better than A in some ways and worse in others",
    "untold": "No difference between A and B can be told",
    "same": "A and B have the same numbers",
    "few": "Too few subjects to tell a difference",
}


@dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Attributes:
        level: which way.
        heading: one sentence without its full stop.
        sentences: what it rests on, and what it does not mean.
    """

    level: Level
    heading: str
    sentences: list[str]


def text(value: float | None) -> str:
    """A number as compare.tsv has it; empty for none."""
    return "" if value is None else f"{value:.6g}"


def verdict(rows: Sequence[Row]) -> Verdict:
    """Judge B by the measures that have a better way, cost apart."""
    judged = [row for row in rows if row.key.metric not in COST]
    level = _level(judged)
    sentences = [*_counts(judged, level), *_largest(judged), *_meaning(judged, level)]
    sentences += [*(_power(rows) if level == "untold" else []), *_cost(rows)]
    return Verdict(level, HEADINGS[level], sentences)


def _level(rows: Sequence[Row]) -> Level:
    better, worse, split = (_count(rows, name) for name in ("better", "worse", "split"))
    if split or (better and worse):
        return "mixed"
    if better or worse:
        return "better" if better else "worse"
    paired = [row for row in rows if row.inference is not None]
    if paired and all(row.outcome == "same" for row in paired):
        return "same"
    return "untold" if any(row.holm is not None for row in rows) else "few"


def _count(rows: Iterable[Row], outcome: str) -> int:
    return sum(row.outcome == outcome for row in rows)


def _counts(rows: Sequence[Row], level: Level) -> list[str]:
    tested = [row for row in rows if row.holm is not None]
    if level == "same":
        return ["Run times apart, every number that pairs is equal in both."]
    if not tested:
        most = max((row.inference.changed for row in rows if row.inference), default=0)
        return [f"No measure differs in more than {_many(most, 'subject')}; a test needs {FEWEST}."]
    parts = [f"{_count(rows, 'better')} are better, {_count(rows, 'worse')} worse"]
    for name, words in (("split", "pull both ways"), ("differs", "only differ")):
        if _count(rows, name):
            parts.append(f"{_count(rows, name)} {words}")
    most = max(row.inference.n for row in tested if row.inference)
    measured = _many(len(tested), "measure")
    return [f"Of {measured} tested on up to {_many(most, 'subject')}, {', '.join(parts)}."]


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _largest(rows: Sequence[Row]) -> list[str]:
    """The measure with the largest effect each way, told in its own unit."""
    sentences = []
    for outcome in ("worse", "better"):
        row = max((r for r in rows if r.outcome == outcome), key=lambda r: r.size, default=None)
        if row is not None:
            start = "Most clearly " + outcome
            sentences.append(f"{start}: {name(row)}, {change(row)}.")
    return sentences


def name(row: Row) -> str:
    """A measure, its label and its stage."""
    label = f" of {row.key.label}" if row.key.label else ""
    return f"{row.shown.title}{label} ({row.key.stage})"


def change(row: Row) -> str:
    """Means of both runs and the difference with its interval, for people."""
    found = row.inference
    if found is None:
        return ""
    unit = f" {row.key.unit}" if row.key.unit else ""
    a, b = short(text(found.mean_a)), short(text(found.mean_b))
    words = f"{a} → {b}{unit}, difference {signed(found.difference)}{unit}"
    if found.low is None or found.high is None:
        return words
    return f"{words} (95 % interval {signed(found.low)} to {signed(found.high)})"


def signed(value: float) -> str:
    """A short number with its sign."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + short(text(abs(value)))


def _meaning(rows: Sequence[Row], level: Level) -> list[str]:
    told = [row for row in rows if row.outcome in ("better", "worse", "split")]
    if told and not any(row.shown.against_reference for row in told):
        return ["None of these is against a reference: they describe images, not whether the"
                " images are right."]  # fmt: skip
    if level == "untold":
        return ["This does not show that they are equal: the intervals tell which differences"
                " remain possible."]  # fmt: skip
    return []


def _power(rows: Sequence[Row]) -> list[str]:
    """Whether the test could have told anything at all."""
    changed = [row.inference.changed for row in rows if row.holm is not None and row.inference]
    tests = len(changed)
    if smallest_p(max(changed)) * tests <= LEVEL:
        return []
    least = smallest_p(max(changed))
    return [
        f"With {_many(max(changed), 'subject')} the smallest possible p-value is {least:.2g},"
        f" {min(1.0, least * tests):.2g} after the correction for {tests} tests: so few subjects"
        " can't tell any difference here."
    ]


def _cost(rows: Sequence[Row]) -> list[str]:
    told = [row for row in rows if row.key.metric in COST and row.outcome in ("better", "worse")]
    parts = []
    for row in sorted(told, key=lambda row: row.key.order):
        if row.inference:
            a, b = short(text(row.inference.mean_a)), short(text(row.inference.mean_b))
            parts.append(f"{row.key.stage} {a} → {b} {row.key.unit}".rstrip())
    return [f"Run time changed: {', '.join(parts)}."] if parts else []


def losses(lost: Iterable[Unpaired]) -> list[str]:
    """Sessions that only one run has numbers of because the other failed; they bias the rest."""
    sentences = []
    for run, other in (("A", "B"), ("B", "A")):
        units = {unit for row in lost if row.lost and row.run == run for unit in row.units}
        if units:
            sentences.append(
                f"{other} failed in {_many(len(units), 'session')} that {run} has numbers of."
                f" They are left out of the pairs, so {other} may look better here than it is."
            )
    return sentences
