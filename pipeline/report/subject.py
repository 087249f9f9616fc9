"""The page of one unit: verdict, strip of stages, one section a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.errors import CODES, VoxelwayError, from_exception
from pipeline.paths import STAGES, Unit
from pipeline.report import measures, render, verdict, viewer, viewer_places
from pipeline.report.figures.acquired import thumbnail
from pipeline.report.figures.sheet import Figure, Layer
from pipeline.report.record import Record, left_out
from pipeline.report.sections import (
    denoise,
    export,
    ingest,
    preprocess,
    register,
    segment,
    superres,
    synthesize,
)
from pipeline.report.sections.content import Builder, Content

#: Stages that have a section, in the order of the page.
SHOWN = tuple(stage for stage in STAGES if stage != "report")

#: Scripts of the page, in order.
SCRIPTS = ("rating.js", "subject.js", "viewer.js", "rating_form.js")

BUILDERS: dict[str, Builder] = {
    "ingest": ingest.build,
    "preprocess": preprocess.build,
    "denoise": denoise.build,
    "superres": superres.build,
    "register": register.build,
    "synthesize": synthesize.build,
    "segment": segment.build,
    "export": export.build,
}


@dataclass(frozen=True)
class Shown:
    """A figure with its anchor and caption."""

    figure: Figure
    anchor: str
    caption: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """A page, and what the cohort's page tells of it."""

    html: str
    verdict: verdict.Verdict
    summary: dict[str, Any]


def build(record: Record, params: Mapping[str, Any]) -> Page:
    """Make the page of one unit.

    Args:
        record: everything that was recorded about the unit.
        params: section ``report`` of the configuration.
    """
    judged = verdict.judge(evidence(record), params["limits"])
    sections = [section(record, stage) for stage in SHOWN]
    anchors = {shown.anchor for part in sections for shown in part["figures"]} | set(SHOWN)
    pictures = [
        layer for part in sections for one in part["figures"] for layer in one.figure.layers
    ]
    shown, places = _viewer(record, sum(len(layer.uri) for layer in pictures))
    reasons = [
        (reason, anchor_of(reason, anchors), viewer_places.of_reason(reason.anchor, places))
        for reason in judged.reasons
    ]
    synthetic = synthesize.missing(record)
    context = {
        "unit": record.unit,
        "verdict": judged,
        "reasons": reasons,
        "sections": sections,
        "viewer": shown,
        "program": viewer.PROGRAM,
        "acquired": sorted(record.contrasts("ingest")),
        "synthetic": synthetic,
        "has_reference": any(number.against_reference for number in record.numbers),
    }
    summary = {
        "Verdict": judged.level,
        "Reasons": [{"level": r.level, "text": r.text, "anchor": a} for r, a, _ in reasons],
        "Acquired": context["acquired"],
        "Synthetic": synthetic,
        "Thumbnail": _thumbnail(record),
    }
    return Page(render.render("subject.html", SCRIPTS, context), judged, summary)


def evidence(record: Record) -> verdict.Evidence:
    """What the verdict rests on."""
    return verdict.Evidence(
        statuses={stage: s for stage, s in record.statuses.items() if stage != "report"},
        values=measures.values(record.numbers),
        synthetic=synthesize.missing(record),
        refused=[row["code"] for row in record.quarantined if not left_out(row["code"])],
        box_touches=segment.touches(record),
    )


def anchor_of(reason: verdict.Reason, anchors: set[str]) -> str:
    """The picture of a reason, or its section where the picture could not be made."""
    return reason.anchor if reason.anchor in anchors else reason.anchor.split("-")[0]


def section(record: Record, stage: str) -> dict[str, Any]:
    """Values of one section's template."""
    words = render.stages()[stage]
    state = record.statuses[stage].status if stage in record.statuses else "absent"
    content, notices = _content(record, stage) if state == "ok" else (Content(), [])
    figures = _figures(stage, content, notices)
    status = record.statuses.get(stage)
    shown = measures.headline(record.numbers, stage, words["measures"])
    return {
        "stage": stage,
        "title": words["title"],
        "does": words["does"],
        "state": state,
        "status": status,
        "meaning": CODES[status.code].meaning if status and status.code in CODES else "",
        "figures": figures,
        "notices": notices,
        "content": content,
        "links": [(link.text, _relative(record, link.path)) for link in content.links],
        "log": _log(record, stage),
        "groups": _groups(shown) if state == "ok" else [],
        "all_groups": _groups(record.numbers) if stage == "evaluate" else [],
        "done": _done(record, stage, content) if state == "ok" else None,
    }


def _viewer(
    record: Record, taken: int
) -> tuple[dict[str, Any] | None, Sequence[viewer_places.Place]]:
    """Values of the viewer's template, and the places it knows; None without any image."""
    try:
        made = viewer.build(record, taken)
    except Exception:  # the sections say which file is damaged
        return None, ()
    if made is None:
        return None, ()
    return {
        "data": made.data,
        "volumes": made.data["volumes"],
        "places": made.places,
        "notices": made.notices,
        "spacing": f"{made.spacing:.3g}",
    }, made.places


def _content(record: Record, stage: str) -> tuple[Content, list[str]]:
    if stage not in BUILDERS:
        return Content(), []
    try:
        return BUILDERS[stage](record), []
    except Exception as error:  # a page comes whatever the files are like
        return Content(), [_notice("This section", error)]


def _figures(stage: str, content: Content, notices: list[str]) -> list[Shown]:
    shown: list[Shown] = []
    captions = render.stages()[stage]["figures"]
    for key, make in content.pictures:
        try:
            figure = make()
        except Exception as error:  # one damaged file costs its own picture only
            notices.append(_notice(f"The picture “{captions[key]['title']}”", error))
            continue
        anchor = f"{stage}-{key}"
        if any(one.anchor == anchor for one in shown):
            anchor += f"-{figure.name}"
        shown.append(Shown(figure, anchor, captions[key]))
    return shown


def _notice(what: str, error: Exception) -> str:
    coded = from_exception(error)
    return f"{what} could not be made: {coded.message} ({coded.code})"


def _groups(numbers: list[measures.Number]) -> list[tuple[str, str, list[measures.Number]]]:
    """Numbers by stage and measure: stage, measure, rows."""
    groups: dict[tuple[str, str], list[measures.Number]] = {}
    for number in numbers:
        groups.setdefault((number.stage, number.metric), []).append(number)
    return [(stage, rows[0].title, rows) for (stage, _), rows in groups.items()]


def _done(record: Record, stage: str, content: Content) -> dict[str, Any] | None:
    outputs = [path for path in content.outputs if record.facts(path)]
    if stage == "evaluate":
        outputs = [record.results.unit_metrics(record.unit)]
    if not outputs:
        return None
    facts = record.facts(outputs[0])
    return {
        "method": facts.get("Method", stage),
        "facts": facts,
        "versions": facts.get("Versions", {}),
        "parameters": _parameters(stage, facts.get("Parameters", {})),
        "seconds": record.statuses[stage].seconds,
    }


def _parameters(stage: str, used: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Name, value, whether it differs from the default, description; those that matter first."""
    first = list(render.stages()[stage]["parameters"])
    described = config.schema()["properties"].get(stage, {}).get("properties", {})
    try:
        defaults = config.section(stage)
    except VoxelwayError:
        defaults = {}
    rows = []
    for name, value in _flat(used):
        top = name.split(".")[0]
        default = dict(_flat(defaults)).get(name, value)
        text = str(described.get(top, {}).get("description", "")).strip()
        rows.append((name, _plain(value), value != default, text))
    rank = {name: place for place, name in enumerate(first)}
    return sorted(rows, key=lambda row: rank.get(row[0].split(".")[0], len(rank)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return str(value)


def _relative(record: Record, path: Path) -> str:
    return "../" + path.relative_to(record.results.root).as_posix()


def _log(record: Record, stage: str) -> str:
    path = record.results.log(stage, record.unit)
    return _relative(record, path) if path.is_file() else ""


def _thumbnail(record: Record) -> str:
    """Small picture for the cohort page as a ``data:`` address; empty when nothing can be shown."""
    try:
        found = record.contrasts("preprocess", desc="preproc")
        if record.ran("preprocess") and record.anchor in found:
            mask = record.results.image("preprocess", record.unit, "mask", desc="brain")
            data = thumbnail(record.image(found[record.anchor]), record.labels(mask))
        else:
            raw = sorted(record.contrasts("ingest").items())
            if not raw:
                return ""
            data = thumbnail(record.image(raw[0][1]), None)
    except Exception:  # the row stands without its picture
        return ""
    return Layer("", data).uri


def title_of(unit: Unit) -> str:
    """Name of a unit for people."""
    return f"sub-{unit.subject} ses-{unit.session}"
