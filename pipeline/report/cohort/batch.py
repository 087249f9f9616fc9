"""Batch effects by scanner and site, and trends over the acquisition date.

One value a subject, that of its first session. An effect is no proof of a cause: patients of one
scanner may differ from those of another.

Kruskal & Wallis 1952, J Am Stat Assoc 47(260):583-621, doi:10.1080/01621459.1952.10483441;
Sen 1968, J Am Stat Assoc 63(324):1379-1389, doi:10.1080/01621459.1968.10480934
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.evaluate.factors import Factors
from pipeline.evaluate.inference import holm
from pipeline.report.cohort.gathered import Column, Gathered

Values = npt.NDArray[np.float64]

#: A group with fewer subjects is not tested.
FEWEST = 5
#: Fewest subjects with a date for a trend, and fewest different days.
FEWEST_DATED, FEWEST_DAYS = 10, 3
#: Subjects that a slope is taken from: the number of pairs grows with the square.
MOST_SLOPES = 600
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Effect:
    """What a factor has to do with one measure.

    Attributes:
        column: place of the measure.
        share: share of the variance of the ranks that the groups explain, eta squared of the
            Kruskal-Wallis test, (H - k + 1) / (n - k), at least 0 (Tomczak & Tomczak 2014, Trends
            Sport Sci 21(1):19-25).
        p: of the test.
        groups: name, subjects and median of each tested group, largest median first.
        holm: p corrected over all measures of the factor.
    """

    column: int
    share: float
    p: float
    groups: tuple[tuple[str, int, float], ...]
    holm: float = 1.0


@dataclass(frozen=True)
class Trend:
    """Change of one measure over the acquisition date.

    Attributes:
        column: place of the measure.
        rho: Spearman's correlation with the date.
        p: of rho.
        slope: Theil-Sen, in the measure's unit a year.
        low: lower end of the slope's 95 % interval.
        high: upper end.
        subjects: with a date and a value.
        holm: p corrected over all measures.
    """

    column: int
    rho: float
    p: float
    slope: float
    low: float
    high: float
    subjects: int
    holm: float = 1.0


GROUPINGS: dict[str, Callable[[Factors], str]] = {
    "scanner": lambda f: f.scanner,
    "site": lambda f: f.site,
    "field strength": lambda f: f"{f.field_strength:g} T" if f.field_strength else "",
}


def first_sessions(gathered: Gathered) -> list[int]:
    """Places of the first session of each subject."""
    first: dict[str, int] = {}
    for place in sorted(range(len(gathered.units)), key=lambda n: gathered.units[n]):
        first.setdefault(gathered.units[place].subject, place)
    return sorted(first.values())


def effects(values: Sequence[Values], names: Sequence[str]) -> list[Effect]:
    """Test every measure between groups.

    Args:
        values: measures, each with one value a subject, NaN where missing.
        names: group of each subject; empty where it is not known.

    Returns:
        Measures of which at least two groups have five subjects or more, largest share first.
    """
    found = [effect for n, v in enumerate(values) if (effect := _effect(n, v, names))]
    corrected = holm([effect.p for effect in found])
    told = [Effect(e.column, e.share, e.p, e.groups, p or 0.0)
            for e, p in zip(found, corrected, strict=True)]  # fmt: skip
    return sorted(told, key=lambda e: (-e.share, e.column))


def _effect(column: int, values: Values, names: Sequence[str]) -> Effect | None:
    labels = np.asarray(names, dtype=object)
    known = np.isfinite(values) & (labels != "")
    sizes = Counter(labels[known])
    groups = {n: values[known & (labels == n)] for n in sorted(sizes) if sizes[n] >= FEWEST}
    together = np.concatenate([np.empty(0), *groups.values()])
    if len(groups) < 2 or np.ptp(together) == 0:
        return None
    test = stats.kruskal(*groups.values())
    count, size = len(groups), len(together)
    share = max(0.0, float((test.statistic - count + 1) / (size - count)))
    told = [(name, len(group), float(np.median(group))) for name, group in groups.items()]
    told.sort(key=lambda entry: -entry[2])
    return Effect(column, share, float(test.pvalue), tuple(told))


def trends(values: Sequence[Values], dates: Sequence[str]) -> list[Trend]:
    """Change of every measure over time, by the smallest p-value first.

    Args:
        values: measures, each with one value a subject, NaN where missing.
        dates: ``YYYY-MM-DD`` of each subject, empty where it is not known.
    """
    years = np.array([_years(date) for date in dates])
    found = [trend for n, v in enumerate(values) if (trend := _trend(n, v, years))]
    corrected = holm([trend.p for trend in found])
    told = [Trend(t.column, t.rho, t.p, t.slope, t.low, t.high, t.subjects, p or 0.0)
            for t, p in zip(found, corrected, strict=True)]  # fmt: skip
    return sorted(told, key=lambda t: (t.p, t.column))


def _years(date: str) -> float:
    try:
        return datetime.date.fromisoformat(date).toordinal() / DAYS_A_YEAR
    except ValueError:
        return float("nan")


def _trend(column: int, values: Values, years: Values) -> Trend | None:
    known = np.isfinite(values) & np.isfinite(years)
    x, y = years[known], values[known]
    if len(x) < FEWEST_DATED or len(np.unique(x)) < FEWEST_DAYS or np.ptp(y) == 0:
        return None
    test = stats.spearmanr(x, y)
    order = np.lexsort((y, x))
    # evenly over time, so that the slope of a large cohort costs no minute
    kept = order[np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_SLOPES)).astype(int))]
    slope, _, low, high = stats.theilslopes(y[kept], x[kept], 0.95)
    return Trend(column, float(test.statistic), float(test.pvalue), float(slope), float(low),
                 float(high), len(x))  # fmt: skip


def summary(gathered: Gathered, columns: Sequence[Column]) -> dict[str, Any]:
    """Groups, effects and trends as the page's data; sentences where nothing can be told."""
    first = first_sessions(gathered)
    values = [column.values[first] for column in columns]
    known = [gathered.factors[place] for place in first]
    by = [_grouping(name, [of(f) for f in known], values) for name, of in GROUPINGS.items()]
    return {"by": by, **_over_time([f.date for f in known], values)}


def _grouping(name: str, names: Sequence[str], values: Sequence[Values]) -> dict[str, Any]:
    sizes = sorted(Counter(filter(None, names)).items(), key=lambda item: (-item[1], item[0]))
    found = effects(values, names)
    return {
        "name": name,
        "groups": [[label, count] for label, count in sizes],
        "silent": "" if found else _silence(name, sizes),
        "effects": [
            {"m": e.column, "share": round(e.share, 4), "p": e.p, "holm": e.holm,
             "groups": [list(group) for group in e.groups]}
            for e in found
        ],
    }  # fmt: skip


def _silence(name: str, sizes: Sequence[tuple[str, int]]) -> str:
    if not sizes:
        return f"The headers tell no {name}."
    if len(sizes) == 1:
        return f"All subjects have the same {name}: {sizes[0][0]}."
    return f"Fewer than two groups have {FEWEST} subjects: nothing was tested."


def _over_time(dates: Sequence[str], values: Sequence[Values]) -> dict[str, Any]:
    dated = [date for date in dates if date]
    found = trends(values, dates)
    silent = ""
    if not dated:
        silent = (
            "The acquisition dates are not in the results: Voxelway leaves them out when it"
            " converts, because they may identify a person. A dataset with dates in its sidecars"
            " or scans.tsv shows trends here."
        )
    elif not found:
        silent = f"Too few dates for a trend: {len(set(dated))} days of {len(dated)} subjects."
    told = [
        {"m": t.column, "rho": t.rho, "p": t.p, "holm": t.holm, "slope": t.slope, "low": t.low,
         "high": t.high, "n": t.subjects}
        for t in found
    ]  # fmt: skip
    return {"trends": told, "dated": len(dated), "undated": silent}
