"""What each source file of this package means and imports, read once and remembered.

Parsing two hundred files takes longer than Snakemake takes to read the workflow, and every job of
a cluster asks again what its stage's code is. What was found out about a text is therefore kept in
the user's cache folder, by the SHA-256 of that text, so that it can't be out of date.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import sys
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError

PACKAGE = Path(__file__).resolve().parent.name
#: Texts that the cache folder remembers; when there are more, those of this process stay.
MOST = 5000
#: Changes with what is kept.
FORMAT = 1


@dataclass(frozen=True)
class Source:
    """What was found out about one file.

    Attributes:
        meaning: SHA-256 of its syntax tree without comments, docstrings and layout.
        imports: modules of this package that it imports, wherever in the file; some of the names
            may be functions.
        others: top names of what else it imports.
    """

    meaning: str
    imports: tuple[str, ...]
    others: tuple[str, ...]


@cache
def read(path: Path) -> Source:
    """What a source file means and imports, as it was when this process first asked."""
    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    known = _remembered()
    if key not in known:
        known[key] = _analysed(ast.parse(content))
    _used.add(key)
    return known[key]


def remember() -> None:
    """Keep what this process found out for the next one; a folder that can't be written is fine."""
    known = _remembered()
    if _used <= _stored:
        return
    kept = known if len(known) <= MOST else {key: known[key] for key in _used}
    with contextlib.suppress(VoxelwayError):
        files.write_text(_place(), json.dumps({key: astuple(one) for key, one in kept.items()}))
    _stored.update(kept)


_used: set[str] = set()
_stored: set[str] = set()


@cache
def _remembered() -> dict[str, Source]:
    try:
        content = json.loads(_place().read_text(encoding="utf-8"))
        known = {
            key: Source(meaning, tuple(imports), tuple(others))
            for key, (meaning, imports, others) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    _stored.update(known)
    return known


def _place() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(folder, "voxelway", f"sources-{sys.implementation.cache_tag}-{FORMAT}.json")


def _analysed(tree: ast.Module) -> Source:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        _drop_docstring(node)
    own = {name for name in names if name.split(".")[0] == PACKAGE}
    others = {name.split(".")[0] for name in names - own}
    meaning = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return Source(meaning, tuple(sorted(own)), tuple(sorted(others)))


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if not isinstance(body, list) or not body:
        return
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    if is_text and isinstance(first.value.value, str):
        node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
