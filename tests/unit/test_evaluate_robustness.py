"""Groups by scanner, contrast, noise and resolution: hand-worked, tested only where it can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline import files
from pipeline.evaluate import robustness
from pipeline.evaluate.factors import Factors, Series
from pipeline.evaluate.robustness import Line
from pipeline.evaluate.table import COLUMNS
from pipeline.paths import Results, Unit

Row = dict[str, str]


def number(subject: str, metric: str, value: float, label: str = "", session: str = "01") -> Row:
    stage = "preprocess" if metric == "noise_level" else "segment"
    fields = (subject, session, stage, metric, label, str(value), "", "")
    return dict(zip(COLUMNS, fields, strict=True))


def about(scanner: str = "", series: Sequence[Series] = ()) -> Factors:
    names = tuple(sorted(one.suffix for one in series))
    return Factors(scanner=scanner, contrasts=names, series=tuple(series))


def by(factor: str, rows: Sequence[Row], known: Mapping[Unit, Factors]) -> list[Line]:
    return [line for line in robustness.lines(rows, known) if line.factor == factor]


def two_scanners(a: Sequence[float], b: Sequence[float]) -> tuple[list[Row], dict[Unit, Factors]]:
    rows, known = [], {}
    for scanner, values in (("X", a), ("Y", b)):
        for n, value in enumerate(values):
            rows.append(number(f"{scanner}{n}", "dice", value, "GM"))
            known[Unit(f"{scanner}{n}", "01")] = about(scanner)
    return rows, known


def test_two_scanners_by_hand() -> None:
    rows, known = two_scanners([0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7, 0.8, 0.9, 1.0])
    (line,) = by("scanner", rows, known)
    x, y = line.levels
    assert (x.name, x.n, x.mean) == ("X", 5, pytest.approx(0.3))
    # standard deviation sqrt(0.025), t(0.975, 4) = 2.7764
    assert x.high == pytest.approx(0.3 + 2.7764 * np.sqrt(0.025 / 5), abs=1e-4)
    assert x.low == pytest.approx(0.3 - 2.7764 * np.sqrt(0.025 / 5), abs=1e-4)
    # Dice ends at 1
    assert y.high == pytest.approx(min(1.0, 0.8 + 0.19633), abs=1e-4)
    assert (line.difference, line.lowest, line.highest) == (pytest.approx(0.5), "X", "Y")
    # rank sums 15 and 40: H = 12 / (10 * 11) * (15^2 / 5 + 40^2 / 5) - 33 = 6.818
    assert line.test == "Kruskal-Wallis"
    assert line.p == pytest.approx(stats.chi2.sf(6.8182, 1), rel=1e-3)
    assert line.holm == line.p


def test_four_subjects_in_a_group_are_shown_and_not_tested() -> None:
    rows, known = two_scanners([0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9, 1.0])
    (line,) = by("scanner", rows, known)
    assert [level.n for level in line.levels] == [4, 5]
    assert (line.test, line.p, line.holm, line.difference) == ("", None, None, None)


def test_sessions_do_not_count_as_subjects() -> None:
    rows, known = two_scanners([0.1, 0.2, 0.3, 0.4], [0.6, 0.7, 0.8, 0.9, 1.0])
    for session in ("02", "03", "04"):
        rows.append(number("X0", "dice", 0.9, "GM", session))
        known[Unit("X0", session)] = about("X")
    (line,) = by("scanner", rows, known)
    assert line.levels[0].n == 4
    # X0 is the mean of 0.1, 0.9, 0.9, 0.9
    assert line.levels[0].mean == pytest.approx((0.7 + 0.2 + 0.3 + 0.4) / 4)
    assert line.p is None


def test_one_scanner_or_none_known_gives_no_line() -> None:
    rows, known = two_scanners([0.1, 0.2], [0.3])
    assert by("scanner", rows, {unit: about("X") for unit in known}) == []
    assert by("scanner", rows, {}) == []


def contrasts(values: Mapping[str, Sequence[float]]) -> tuple[list[Row], dict[Unit, Factors]]:
    rows = [
        number(f"s{n}", "snr", value, suffix)
        for suffix, found in values.items()
        for n, value in enumerate(found)
    ]
    series = [Series(suffix) for suffix in values]
    return rows, {Unit(row["subject"], "01"): about("", series) for row in rows}


def test_contrasts_of_the_same_subjects_are_compared_as_blocks() -> None:
    base = [1.0, 2, 3, 4, 5, 6]
    rows, known = contrasts({"T1w": base, "T2w": [v + 0.5 for v in base]})
    (line,) = by("contrast", rows, known)
    assert (line.label, line.test, line.difference) == ("", "Wilcoxon", pytest.approx(0.5))
    assert line.p == pytest.approx(2 / 64)
    three = {"FLAIR": [v + 9 for v in base], "T1w": base, "T2w": [v + 0.5 for v in base]}
    (line,) = by("contrast", *contrasts(three))
    assert line.test == "Friedman"
    assert line.p == pytest.approx(stats.friedmanchisquare(*three.values())[1])


def test_structures_are_grouped_by_the_contrasts_of_their_session() -> None:
    rows = [number("a", "dice", 0.5, "GM"), number("b", "dice", 0.7, "GM")]
    known = {Unit("a", "01"): about("", [Series("T1w")]),
             Unit("b", "01"): about("", [Series("T1w"), Series("FLAIR")])}  # fmt: skip
    (line,) = by("contrast", rows, known)
    assert (line.label, [level.name for level in line.levels]) == ("GM", ["FLAIR + T1w", "T1w"])


def test_thirds_of_the_noise_level() -> None:
    rows, known = [], {}
    for n in range(9):
        rows += [number(f"s{n}", "noise_level", float(n), "T1w"),
                 number(f"s{n}", "dice", 0.1 * n, "GM")]  # fmt: skip
        known[Unit(f"s{n}", "01")] = about("", [Series("T1w", (1, 1, 1), 1.0)])
    (line,) = by("noise", rows, known)
    assert line.metric == "dice"
    # cuts at 8/3 and 16/3: subjects 0-2, 3-5, 6-8
    assert [(level.n, round(level.mean, 3)) for level in line.levels] == [
        (3, 0.1),
        (3, 0.4),
        (3, 0.7),
    ]
    assert [level.name.split(",")[0] for level in line.levels] == ["low", "middle", "high"]


def test_classes_of_resolution_use_the_contrast_of_the_number() -> None:
    rows, known = [], {}
    for n, thickness in enumerate((1.0, 1.5, 4.0, 6.0)):
        series = [Series("T1w", (1, 1, 1), 1.0), Series("T2w", (1, 1, thickness), thickness)]
        rows += [number(f"s{n}", "snr", 10.0 - n, suffix) for suffix in ("T1w", "T2w")]
        known[Unit(f"s{n}", "01")] = about("", series)
    (thick,) = by("thickness", rows, known)
    assert thick.label == "T2w"
    assert [(level.name, level.n) for level in thick.levels] == [
        ("to 1.5 mm", 2), ("above 3 to 5 mm", 1), ("above 5 mm", 1),
    ]  # fmt: skip
    (voxel,) = by("voxel", rows, known)
    assert [level.n for level in voxel.levels] == [1, 1, 2]


def test_size_of_an_error_counts_and_volumes_are_left_out() -> None:
    rows, known = two_scanners([0.1] * 5, [0.2] * 5)
    errors = [{**row, "metric": "volume_error", "value": "-" + row["value"]} for row in rows]
    volumes = [{**row, "metric": "volume"} for row in rows]
    (line,) = by("scanner", [*errors, *volumes], known)
    assert (line.metric, line.highest) == ("volume_error", "Y")


def test_equal_groups_have_no_p_value() -> None:
    (line,) = by("scanner", *two_scanners([0.5] * 5, [0.5] * 5))
    assert (line.difference, line.p) == (0.0, None)


def test_false_positives_under_the_null() -> None:
    rng = np.random.default_rng(4)
    told = 0
    for _ in range(300):
        a, b = rng.uniform(0, 1, (2, 8))
        (line,) = by("scanner", *two_scanners(a, b))
        told += line.p is not None and line.p <= 0.05
    # 5 % of 300, three standard deviations to either side
    assert 0.012 <= told / 300 <= 0.088


def test_table_and_markdown_of_a_folder(tmp_path: Path) -> None:
    results = Results(tmp_path)
    rows = []
    for n, scanner in enumerate(["A|<b>"] * 5 + ["B"] * 5):
        unit = Unit(f"s{n}", "01")
        rows.append(number(unit.subject, "dice", 0.05 * n, "GM"))
        path = results.image("ingest", unit, "T1w", extension=".json")
        files.write_json(path, {"Manufacturer": scanner})
    files.write_tsv(results.metrics, COLUMNS, rows)
    (line,) = robustness.table(results)
    text = robustness.markdown([line])
    assert text.count("\n") == 3
    assert "| scanner | segment | dice | GM | A\\|&lt;b&gt; | 5 | 0.1 (" in text
    assert f"0.25 (B over A\\|&lt;b&gt;) | Kruskal-Wallis | {line.p:.2g} | {line.p:.2g} |" in text
