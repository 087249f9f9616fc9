"""Fingerprint of the code that a stage imports, and the versions of the packages that it rests on.

Snakemake does not see an edit of a package that a rule's command calls. The workflow puts these
into each rule's parameters, so that a change of meaning, or another version of a package that
decides voxels, runs the stage again, and a comment, a docstring or the age of a file does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from pipeline import sources

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT.name
DATA_SUFFIXES = {".html", ".css", ".js", ".json", ".tsv", ".yaml"}
#: What decides voxels, labels or DICOM: name in an import → name of the package.
DECIDING = {
    "SimpleITK": "SimpleITK",
    "ants": "antspyx",
    "cc3d": "connected-components-3d",
    "dcm2niix": "dcm2niix",
    "deepbet": "deepbet",
    "fill_voids": "fill-voids",
    "gdcm": "python-gdcm",
    "highdicom": "highdicom",
    "lightning": "lightning",
    "monai": "monai",
    "nibabel": "nibabel",
    "nilearn": "nilearn",
    "numpy": "numpy",
    "pydicom": "pydicom",
    "quickshear": "quickshear",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
}


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
            digest.update(f"{module}:{sources.read(path).meaning}\n".encode())
    for folder in sorted({_folder(entry) for entry in entries}):
        for path in sorted(folder.rglob("*")):
            if path.suffix in DATA_SUFFIXES:
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    sources.remember()
    return digest.hexdigest()[:12]


def packages(*entries: str) -> list[str]:
    """Packages of :data:`DECIDING` that the modules ``entries`` rest on, with their versions.

    Returns:
        As ``antspyx 0.6.1``, sorted; the build (``+cpu``) is left out, so that nodes with and
        without a GPU agree.
    """
    modules = filter(None, map(_file, _closure(entries)))
    imported = {name for path in modules for name in sources.read(path).others}
    named = sorted((DECIDING[name] for name in imported & set(DECIDING)), key=str.lower)
    return [f"{name} {_version(name)}" for name in named]


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"


def _folder(module: str) -> Path:
    path = _file(module)
    if path is None:
        raise ValueError(f"no module {module}")
    return path.parent


def _closure(entries: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    todo = list(entries)
    while todo:
        module = todo.pop()
        path = None if module in seen else _file(module)
        if path is None:
            continue
        seen.add(module)
        parts = module.split(".")
        todo.extend(".".join(parts[:n]) for n in range(1, len(parts)))
        todo.extend(sources.read(path).imports)
    return seen


@cache
def _file(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = ROOT.joinpath(*parts[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None
