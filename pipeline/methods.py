"""Registry of methods: one module a method under ``pipeline/STAGE/methods``.

A method module has a function ``create(params, model)`` that returns the stage's callable, and a
constant ``LEARNED`` that says whether it needs a model bundle; ``LIGHT = True`` that this is loaded
in no time, so that nothing is gained by work on several subjects in one process. Adding a method is
adding a file.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError
from pipeline.fingerprint import code_fingerprint, packages


def available(stage: str) -> list[str]:
    """Names of the methods of a stage, sorted, without importing them."""
    folder = Path(__file__).parent / stage / "methods"
    return sorted(info.name for info in pkgutil.iter_modules([str(folder)]))


def module_name(stage: str, method: str) -> str:
    """Dotted name of the module of one method.

    Raises:
        VoxelwayError: E-METHOD when the stage has no such method.
    """
    if method not in available(stage):
        known = ", ".join(available(stage))
        hint = f"Methods of {stage}: {known}"
        raise VoxelwayError("E-METHOD", f"{stage} has no method {method!r}", hint=hint)
    return f"pipeline.{stage}.methods.{method}"


def learned(stage: str, method: str) -> bool:
    """Whether a method needs a model bundle, read from its file without importing it.

    Raises:
        VoxelwayError: E-METHOD when the stage has no such method.
    """
    found = _constant(stage, method, "LEARNED")
    if found is None:
        raise ValueError(f"{method} of {stage} does not say whether it is LEARNED")
    return found


def heavy(stage: str, method: str) -> bool:
    """Whether a method loads a model that takes its time.

    Raises:
        VoxelwayError: E-METHOD when the stage has no such method.
    """
    return learned(stage, method) and not _constant(stage, method, "LIGHT")


def _constant(stage: str, method: str, name: str) -> bool | None:
    module_name(stage, method)
    path = Path(__file__).parent / stage / "methods" / f"{method}.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return bool(ast.literal_eval(node.value))
    return None


def create(stage: str, method: str, params: Mapping[str, Any], model: Path | None = None) -> Any:
    """Import a method and make it ready, once for any number of subjects."""
    module = importlib.import_module(module_name(stage, method))
    if module.LEARNED and model is None:
        hint = "Give --model, or choose a training-free method"
        what = f"The method {method} of {stage} needs a model bundle"
        raise VoxelwayError("E-MODEL-MISSING", what, hint=hint)
    return module.create(params, model)


def stage_code(stage: str, params: Mapping[str, Any]) -> str:
    """Fingerprint of a stage with the methods that its parameters name, and no others."""
    return code_fingerprint(*_modules(stage, params))


def stage_packages(stage: str, params: Mapping[str, Any]) -> list[str]:
    """Packages with their versions that a stage rests on, with those of its named methods."""
    return packages(*_modules(stage, params))


def _modules(stage: str, params: Mapping[str, Any]) -> list[str]:
    named = sorted(set(_texts(params)) & set(available(stage)))
    return [f"pipeline.{stage}.stage", *(module_name(stage, method) for method in named)]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []
