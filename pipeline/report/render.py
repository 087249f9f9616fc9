"""From values to HTML: templates, escaping, inline style and script, content security.

Everything that is not written by a template is escaped. Only the page's own script may run: the
content security policy names its hash, so that text of a header could not run even if it came
through unescaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline import __version__
from pipeline.report.measures import short

ASSETS = Path(__file__).parent / "assets"

#: State of a stage → its mark and words; never told by colour alone.
MARKS = {
    "ok": ("✓", "done"),
    "failed": ("✕", "failed"),
    "skipped": ("–", "not run"),
    "absent": ("·", "not yet"),
    "pass": ("✓", "pass"),
    "look": ("!", "look"),
    "fail": ("✕", "fail"),
}


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["short"] = short
    found.filters["script_json"] = lambda value: Markup(script_json(value))
    found.globals["MARKS"] = MARKS
    found.globals["VERSION"] = __version__
    return found


@cache
def asset(name: str) -> str:
    """Text of a file of the assets folder."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def stages() -> dict[str, dict[str, Any]]:
    """Titles, captions and headline measures of the stages, from stages.yaml."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(asset("stages.yaml"))
    return content


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: no ``<``, ``>`` or ``&`` in it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def render(template: str, scripts: str | Sequence[str], context: Mapping[str, Any]) -> str:
    """Fill a template.

    Args:
        template: file of the assets folder.
        scripts: the page's own script or scripts, in order, files of the assets folder.
        context: values.
    """
    names = [scripts] if isinstance(scripts, str) else scripts
    code = "".join(asset(name) for name in ("common.js", *names))
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'self' file: 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    return page.render(**context, policy=policy, style=Markup(asset("page.css")),
                       script=Markup(code))  # fmt: skip
