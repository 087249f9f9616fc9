"""What differs between two runs, as their sidecars tell, and why a number has no partner."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import files, status
from pipeline.compare.pairs import Group
from pipeline.errors import VoxelwayError
from pipeline.paths import STAGES, Results, Unit

#: Stages that no number rests on.
SILENT = ("report", "export")
#: Longest text of a cell.
LONGEST = 160


@dataclass(frozen=True)
class Difference:
    """One thing in which the runs differ; several values in one run are counted."""

    stage: str
    what: str
    a: str
    b: str


def differences(a: Results, b: Results, units: Iterable[Unit]) -> list[Difference]:
    """Methods, models, code, parameters and versions that differ for the same sessions."""
    chosen = list(units)
    found = []
    for stage in (stage for stage in STAGES if stage not in SILENT):
        left = [facts(a, stage, unit) for unit in chosen]
        right = [facts(b, stage, unit) for unit in chosen]
        for what in _names([*left, *right]):
            pairs = [
                (x.get(what, "–"), y.get(what, "–"))
                for x, y in zip(left, right, strict=True)
                if what in x or what in y
            ]
            if any(x != y for x, y in pairs):
                texts = (_told(Counter(values)) for values in zip(*pairs, strict=True))
                found.append(Difference(stage, what, *texts))
    return found


def _names(contents: Iterable[Mapping[str, str]]) -> list[str]:
    """Names in the order in which the sidecars have them, parameters and versions last."""
    return list(dict.fromkeys(name for content in contents for name in content))


def _told(counted: Counter[str]) -> str:
    if len(counted) == 1:
        return next(iter(counted))
    most = [f"{value} ({number})" for value, number in counted.most_common(3)]
    more = [f"{len(counted) - 3} more"] if len(counted) > 3 else []
    return ", ".join([*most, *more])


def facts(results: Results, stage: str, unit: Unit) -> dict[str, str]:
    """What one sidecar of a stage tells about how it was made; empty without one."""
    for path in _sidecars(results, stage, unit):
        content = _json(path)
        if isinstance(content.get("GeneratedBy"), dict):
            return _facts(content)
    return {}


def _facts(content: Mapping[str, Any]) -> dict[str, str]:
    found = {
        "method": _text(content.get("Method", "")),
        "model": _text(content.get("Model", ""))[:12] or "none",
        "code": _text(content.get("Code", "")),
        "Voxelway": _text(content["GeneratedBy"].get("Version", "")),
        "device": _text(content.get("Device", "")),
    }
    found |= {name: text for name, text in _flat(content.get("Parameters")) if name != "method"}
    versions = content.get("Versions")
    if isinstance(versions, dict):
        found |= {f"version of {name}": _text(value) for name, value in sorted(versions.items())}
    return found


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Parameters with their path, as ``bias.iterations``."""
    if not isinstance(value, dict):
        return [(prefix, _text(value))] if prefix else []
    inner = ((f"{prefix}.{key}" if prefix else str(key), value[key]) for key in sorted(value))
    return [pair for name, item in inner for pair in _flat(item, name)]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _sidecars(results: Results, stage: str, unit: Unit) -> list[Path]:
    folder = (results.rawdata if stage == "ingest" else results.derivatives(stage)) / unit.folder
    found = [*sorted((folder / "anat").glob("*.json")), *sorted(folder.glob("*_metrics.json"))]
    return [path for path in found if path.name.startswith(f"{unit.name}_")]


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = files.read_json(path)
    except (VoxelwayError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def other_inputs(a: Results, b: Results, units: Iterable[Unit]) -> list[Unit]:
    """Sessions whose acquired images are not the same in both runs."""
    return [unit for unit in units if _differ(_hashes(a, unit), _hashes(b, unit))]


def _differ(a: Mapping[str, str], b: Mapping[str, str]) -> bool:
    return any(a[name] != b[name] for name in a.keys() & b.keys())


def _hashes(results: Results, unit: Unit) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in _sidecars(results, "ingest", unit):
        hashes = _json(path).get("Sha256")
        if isinstance(hashes, dict):
            found |= {str(name): str(value) for name, value in hashes.items()}
    return found


@dataclass(frozen=True)
class Unpaired:
    """Numbers without a partner, for one reason.

    Attributes:
        run: ``A`` or ``B``, the one that has the numbers.
        stage: stage of the numbers.
        reason: why the other run has none.
        lost: whether the other run failed where this one has numbers.
        units: sessions, sorted.
        numbers: how many.
    """

    run: str
    stage: str
    reason: str
    lost: bool
    units: tuple[Unit, ...]
    numbers: int


def unpaired(groups: Sequence[Group], a: Results, b: Results) -> list[Unpaired]:
    """Numbers without a partner by stage and reason; those lost to a failure come first."""
    found: dict[tuple[str, str, str, bool], list[Unit]] = defaultdict(list)
    known: dict[tuple[str, str, Unit], tuple[str, bool]] = {}
    have = {"A": _measured(groups, "only_a"), "B": _measured(groups, "only_b")}
    for group in groups:
        stage = group.key.stage
        for run, twin, other, units in (
            ("A", "B", b, group.only_a),
            ("B", "A", a, group.only_b),
        ):
            for unit in units:
                if (run, stage, unit) not in known:
                    known[run, stage, unit] = _reason(other, stage, unit, unit in have[twin])
                found[run, stage, *known[run, stage, unit]].append(unit)
    rows = [
        Unpaired(run, stage, reason, lost, tuple(sorted(set(units))), len(units))
        for (run, stage, reason, lost), units in found.items()
    ]
    return sorted(rows, key=lambda row: (not row.lost, row.run, -row.numbers, row.reason))


def _measured(groups: Iterable[Group], alone: str) -> set[Unit]:
    """Sessions that a run has any number of."""
    paired = {case.unit for group in groups for case in group.cases}
    return paired.union(*(getattr(group, alone) for group in groups))


def _reason(other: Results, stage: str, unit: Unit, measured: bool) -> tuple[str, bool]:
    """Why a run has no number of a stage for a session, and whether because it failed."""
    states = {name: _status(other, name, unit) for name in ("ingest", stage, "evaluate")}
    if not measured and not any(states.values()):
        return "the session is not in the other run", False
    for name, state in states.items():
        if state is None:
            if not measured:
                return f"{name} has not run there", False
            continue
        if state.status != "ok":
            code = f" ({state.code})" if state.code else ""
            words = "failed" if state.status == "failed" else "was skipped"
            return f"{name} {words} there{code}", True
    return "it was not measured there", False


def _status(results: Results, stage: str, unit: Unit) -> status.Status | None:
    if stage not in STAGES:
        return None
    try:
        return status.read(results, unit, stage)
    except (VoxelwayError, TypeError):
        return status.Status(unit.subject, unit.session, stage, "failed", "E-FILE-READ")
