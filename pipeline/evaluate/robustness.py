"""Does a measure hold across scanners, contrasts, noise levels and resolutions?

``python -m pipeline.evaluate.robustness RESULTS`` prints a Markdown table; :func:`table` gives the
same as data. The cases are subjects: the sessions of one subject in one group are averaged.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import stats

from pipeline import files
from pipeline.evaluate import factors
from pipeline.evaluate.factors import Factors, Series
from pipeline.evaluate.inference import holm
from pipeline.evaluate.registry import MEASURES
from pipeline.paths import STAGES, Results, Unit

#: A group with fewer subjects is shown and not tested.
FEWEST = 5
#: Measures that tell about the machine and not about the images.
COST = frozenset({"seconds"})
#: Upper ends of the classes of slice thickness in mm and of the voxel's volume in mm^3.
THICKNESS, VOLUME = (1.5, 3.0, 5.0), (1.0, 3.0, 8.0)
HEADER = (
    "| by | stage | measure | label | group | subjects | mean (95 % interval) | largest difference"
    " | test | p | p, Holm |"
)


#: Stage, measure, label, unit.
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Level:
    """One group.

    Attributes:
        name: the scanner, contrast, noise level or class of resolution.
        n: subjects.
        mean: mean over the subjects.
        low: lower end of its 95 % interval (Student's t, cut at the measure's range); None for
            one subject.
        high: upper end.
    """

    name: str
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Line:
    """One measure by one factor.

    Attributes:
        factor: scanner, contrast, noise, thickness or voxel.
        stage: stage that the numbers judge.
        metric: name in the registry; where closer to zero is better, sizes are compared.
        label: contrast or structure; empty when the contrasts are the groups.
        unit: of the mean.
        levels: groups, in their natural order.
        difference: largest less smallest mean of the groups, on the subjects that the test takes;
            None where fewer than two groups have :data:`FEWEST` subjects.
        lowest: group with the smallest of these means, empty without a difference.
        highest: group with the largest.
        test: ``Kruskal-Wallis`` for groups of different subjects; ``Friedman`` or ``Wilcoxon`` on
            the subjects that are in every group, where subjects are in several; else empty.
        p: its p-value.
        holm: corrected over all lines of the table.
    """

    factor: str
    stage: str
    metric: str
    label: str
    unit: str
    levels: tuple[Level, ...]
    difference: float | None = None
    lowest: str = ""
    highest: str = ""
    test: str = ""
    p: float | None = None
    holm: float | None = None


@dataclass(frozen=True)
class Number:
    """One number of the table with what is known of its session."""

    unit: Unit
    stage: str
    metric: str
    label: str
    measured: str
    value: float
    about: Factors
    noise: float | None

    @property
    def of_contrast(self) -> bool:
        """Whether the label names an acquired contrast."""
        return self.about.of(self.label) is not None

    @property
    def series(self) -> Series | None:
        """The acquired image that the number rests on: its contrast's, else the finest."""
        return self.about.of(self.label) or self.about.finest


def table(results: Results) -> list[Line]:
    """Every measure by every factor that has more than one group.

    Raises:
        VoxelwayError: E-FILE-READ when evaluate/metrics.tsv can't be read.
    """
    rows = files.read_tsv(results.metrics)
    units = sorted({Unit(row["subject"], row["session"]) for row in rows})
    return lines(rows, factors.read(results, units))


def lines(rows: Sequence[Mapping[str, str]], known: Mapping[Unit, Factors]) -> list[Line]:
    """The table from rows of metrics.tsv and the factors of their sessions."""
    numbers = _numbers(rows, known)
    found = [
        line
        for factor, name in NAMES.items()
        for key, chosen in sorted(_by_key(numbers, factor).items(), key=_order)
        if (line := _line(factor, key, _groups(chosen, name(chosen)))) is not None
    ]
    corrected = holm([line.p for line in found])
    return [replace(line, holm=p) for line, p in zip(found, corrected, strict=True)]


def _order(item: tuple[Key, list[Number]]) -> tuple[int, Key]:
    stage = item[0][0]
    return (STAGES.index(stage) if stage in STAGES else len(STAGES), item[0])


def _numbers(rows: Iterable[Mapping[str, str]], known: Mapping[Unit, Factors]) -> list[Number]:
    finite = [(row, value) for row in rows if math.isfinite(value := _float(row["value"]))]
    noise = {
        (row["subject"], row["session"], row["label"]): value
        for row, value in finite
        if (row["stage"], row["metric"]) == ("preprocess", "noise_level")
    }
    numbers = []
    for row, value in finite:
        measure = MEASURES.get(row["metric"])
        if measure is None or measure.direction == "none" or measure.name in COST:
            continue
        unit = Unit(row["subject"], row["session"])
        amount = abs(value) if measure.direction == "zero" else value
        one = Number(unit, row["stage"], measure.name, row["label"], row["unit"], amount,
                     known.get(unit, Factors()), None)  # fmt: skip
        contrast = one.series.suffix if one.series else ""
        numbers.append(replace(one, noise=noise.get((unit.subject, unit.session, contrast))))
    return numbers


def _float(text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _by_key(numbers: Iterable[Number], factor: str) -> dict[Key, list[Number]]:
    """Numbers that are compared with each other; contrasts are compared across labels."""
    found: dict[Key, list[Number]] = defaultdict(list)
    for one in numbers:
        if factor == "noise" and one.metric == "noise_level":
            continue
        label = "" if factor == "contrast" and one.of_contrast else one.label
        found[one.stage, one.metric, label, one.measured].append(one)
    return found


#: Name of a number's group with its place in the order; None where the factor is not known.
Namer = Callable[[Number], tuple[int, str] | None]


def _scanner(numbers: Sequence[Number]) -> Namer:
    return lambda one: (0, one.about.scanner) if one.about.scanner else None


def _contrast(numbers: Sequence[Number]) -> Namer:
    def name(one: Number) -> tuple[int, str] | None:
        text = one.label if one.of_contrast else " + ".join(one.about.contrasts)
        return (0, text) if text else None

    return name


def _noise(numbers: Sequence[Number]) -> Namer:
    """Thirds of the noise levels of these numbers' sessions, a subject counted once."""
    levels: dict[str, list[float]] = defaultdict(list)
    for one in numbers:
        if one.noise is not None:
            levels[one.unit.subject].append(one.noise)
    means = [float(np.mean(values)) for values in levels.values()]
    low, high = np.quantile(means, (1 / 3, 2 / 3)) if means else (0.0, 0.0)
    names = (f"low, to {low:.3g} %", f"middle, to {high:.3g} %", f"high, above {high:.3g} %")

    def name(one: Number) -> tuple[int, str] | None:
        if one.noise is None:
            return None
        place = int(one.noise > low) + int(one.noise > high)
        return place, names[place]

    return name


def _classes(
    limits: Sequence[float], unit: str, value: Callable[[Series], float | None]
) -> Callable[[Sequence[Number]], Namer]:
    names = [f"to {limits[0]:g} {unit}"]
    names += [f"above {a:g} to {b:g} {unit}" for a, b in pairwise(limits)]
    names.append(f"above {limits[-1]:g} {unit}")

    def name(one: Number) -> tuple[int, str] | None:
        size = value(one.series) if one.series else None
        if size is None:
            return None
        # headers give 1.4999998 for 1.5
        place = sum(size > limit * 1.001 for limit in limits)
        return place, names[place]

    return lambda numbers: name


NAMES: dict[str, Callable[[Sequence[Number]], Namer]] = {
    "scanner": _scanner,
    "contrast": _contrast,
    "noise": _noise,
    "thickness": _classes(THICKNESS, "mm", lambda series: series.thickness),
    "voxel": _classes(VOLUME, "mm³", lambda series: series.volume),
}

#: Name of a group → subject → mean over the sessions.
Groups = dict[str, dict[str, float]]


def _groups(numbers: Sequence[Number], name: Namer) -> Groups:
    found: dict[tuple[int, str], dict[str, list[float]]] = {}
    for one in numbers:
        place = name(one)
        if place is not None:
            found.setdefault(place, {}).setdefault(one.unit.subject, []).append(one.value)
    return {
        text: {subject: float(np.mean(values)) for subject, values in sorted(subjects.items())}
        for (_, text), subjects in sorted(found.items())
    }


def _line(factor: str, key: Key, groups: Groups) -> Line | None:
    """One measure by one factor; None where there is a single group."""
    if len(groups) < 2:
        return None
    levels = tuple(_level(name, list(values.values()), key[1]) for name, values in groups.items())
    line = Line(factor, *key, levels)
    test, chosen = _comparable({n: groups[n] for n in groups if len(groups[n]) >= FEWEST})
    if len(chosen) < 2:
        return line
    means = {name: float(np.mean(values)) for name, values in chosen.items()}
    lowest, highest = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    p = _p(TESTS[test], list(chosen.values()))
    return replace(line, difference=means[highest] - means[lowest], lowest=lowest,
                   highest=highest, test=test, p=p)  # fmt: skip


def _level(name: str, values: Sequence[float], metric: str) -> Level:
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Level(name, count, mean, None, None)
    half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    bounds = MEASURES[metric]
    return Level(name, count, mean, max(bounds.low, mean - half), min(bounds.high, mean + half))


#: Kruskal & Wallis 1952, J Am Stat Assoc 47(260):583-621, doi:10.1080/01621459.1952.10483441;
#: Friedman 1937, J Am Stat Assoc 32(200):675-701, doi:10.1080/01621459.1937.10503522;
#: Wilcoxon 1945, Biometrics Bulletin 1(6):80-83, doi:10.2307/3001968
TESTS: dict[str, Callable[..., tuple[float, float]]] = {
    "Kruskal-Wallis": stats.kruskal,
    "Friedman": stats.friedmanchisquare,
    "Wilcoxon": stats.wilcoxon,
}


def _comparable(groups: Groups) -> tuple[str, dict[str, list[float]]]:
    """The test that fits and the values that it takes; none where nothing can be tested.

    Groups that share subjects are compared on the subjects that are in all of them.
    """
    everyone = [subject for group in groups.values() for subject in group]
    if len(set(everyone)) == len(everyone):
        return "Kruskal-Wallis", {name: list(group.values()) for name, group in groups.items()}
    common = sorted(set.intersection(*(set(group) for group in groups.values())))
    if len(common) < FEWEST:
        return "", {}
    chosen = {name: [group[subject] for subject in common] for name, group in groups.items()}
    return "Friedman" if len(groups) > 2 else "Wilcoxon", chosen


def _p(
    test: Callable[..., tuple[float, float]], columns: Sequence[Sequence[float]]
) -> float | None:
    """P-value; None when all values are the same, where there is nothing to test."""
    if all(column == columns[0] for column in columns) or np.ptp(np.concatenate(columns)) == 0:
        return None
    return float(test(*columns)[1])


def markdown(found: Iterable[Line]) -> str:
    """The lines as a Markdown table, one row a group."""
    rows = [HEADER, "| --- " * (HEADER.count("|") - 1) + "|"]
    for line in found:
        for place, level in enumerate(line.levels):
            first = place == 0
            what = (line.factor, line.stage, line.metric, line.label) if first else ("",) * 4
            cells = [*what, level.name, str(level.n), _interval(level, line.unit)]
            rows.append("| " + " | ".join(map(_cell, [*cells, *_verdict(line, first)])) + " |")
    return "\n".join(rows)


def _interval(level: Level, unit: str) -> str:
    text = f"{level.mean:.3g} {unit}".rstrip()
    if level.low is None or level.high is None:
        return text
    return f"{text} ({level.low:.3g} to {level.high:.3g})"


def _verdict(line: Line, first: bool) -> list[str]:
    if not first or line.difference is None:
        return [""] * 4
    p = ["" if value is None else f"{value:.2g}" for value in (line.p, line.holm)]
    which = f" ({line.highest} over {line.lowest})" if line.difference else ""
    return [f"{line.difference:.3g}{which}", line.test, *p]


def _cell(text: str) -> str:
    """Text that can't end its cell nor be read as HTML."""
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        text = text.replace(sign, safe)
    return text


if __name__ == "__main__":
    print(markdown(table(Results(Path(sys.argv[1])))))
