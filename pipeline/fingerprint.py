"""Fingerprint of the code that a stage imports: the import closure without comments.

Snakemake does not see an edit of a package that a rule's command calls. The workflow puts this
fingerprint into each rule's parameters, so that a change of meaning runs the stage again, and a
comment, a docstring or the age of a file does not.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT.name
DATA_SUFFIXES = {".html", ".css", ".js", ".json", ".tsv", ".yaml"}


def code_fingerprint(*entries: str) -> str:
    """Hash of the modules ``entries`` and of everything of this package that they import.

    Args:
        entries: dotted module names, as ``pipeline.denoise.stage``.

    Returns:
        12 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for module in sorted(_closure(entries)):
        path = _file(module)
        if path is not None:
            digest.update(f"{module}:{_meaning(path)}\n".encode())
    for folder in sorted({_folder(entry) for entry in entries}):
        for path in sorted(folder.rglob("*")):
            if path.suffix in DATA_SUFFIXES:
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _folder(module: str) -> Path:
    path = _file(module)
    if path is None:
        raise ValueError(f"no module {module}")
    return path.parent


def _closure(entries: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    todo = list(entries)
    while todo:
        module = todo.pop()
        if module in seen or _file(module) is None:
            continue
        seen.add(module)
        parts = module.split(".")
        todo.extend(".".join(parts[:n]) for n in range(1, len(parts)))
        todo.extend(_imports(_file_or_fail(module)))
    return seen


def _file(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = ROOT.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _file_or_fail(module: str) -> Path:
    path = _file(module)
    if path is None:
        raise ValueError(f"no module {module}")
    return path


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in names if name.split(".")[0] == PACKAGE))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or not body:
            continue
        first = body[0]
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        if is_text and isinstance(first.value.value, str):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
