"""Configuration: read, checked against the schema, completed with its defaults.

The schema in ``workflow/schemas`` is the only place where keys, types, ranges, units and defaults
are written down; ``config/README.md`` is generated from it.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pipeline.errors import VoxelwayError, from_os_error
from pipeline.paths import STAGES

#: Sections of the configuration, one a stage.
SECTIONS = STAGES


@cache
def schema() -> dict[str, Any]:
    """The whole schema, with a section a stage and every ``$fragment`` in its place.

    ``{$fragment: NAME, defaults: {key: value}}`` stands for NAME.schema.yaml, which several
    sections share, with defaults of the section's own.
    """
    folder = package_files("workflow.schemas")
    whole = _parse(folder.joinpath("config.schema.yaml").read_text(encoding="utf-8"))
    for section in SECTIONS:
        text = folder.joinpath(f"stages/{section}.schema.yaml").read_text(encoding="utf-8")
        whole["properties"][section] = _parse(text)
    return _with_fragments(whole)


def _with_fragments(part: dict[str, Any]) -> dict[str, Any]:
    if "$fragment" in part:
        file = package_files("workflow.schemas").joinpath(f"{part['$fragment']}.schema.yaml")
        shared = _parse(file.read_text(encoding="utf-8"))
        for key, value in part.get("defaults", {}).items():
            shared["properties"][key]["default"] = value
        return _with_fragments(shared)
    return {k: _with_fragments(v) if isinstance(v, dict) else v for k, v in part.items()}


def _parse(text: str) -> dict[str, Any]:
    # libyaml, where it is there, is ten times as fast: every job of a cluster reads the schema
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, Any] = yaml.load(text, Loader=loader)
    return content


def read(path: Path) -> dict[str, Any]:
    """Read a configuration file without checking it.

    Raises:
        VoxelwayError: E-CONFIG-FILE when it is absent or no YAML mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VoxelwayError("E-CONFIG-FILE", from_os_error(error).what, where=str(path)) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:300]
        raise VoxelwayError("E-CONFIG-FILE", f"No valid YAML: {reason}", where=str(path)) from error
    if not isinstance(content, dict):
        what = f"A mapping was expected, this is {type(content).__name__}"
        raise VoxelwayError("E-CONFIG-FILE", what, where=str(path))
    return content


def resolve(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration and fill in the defaults.

    Raises:
        VoxelwayError: E-CONFIG-KEY or E-CONFIG-VALUE for the first fault, with all others named.
    """
    config = with_defaults(_typed(dict(raw), schema()), schema())
    _check(config, schema())
    return config


def section(name: str, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The checked slice of one stage: its defaults, with ``overrides`` on top."""
    part = schema()["properties"][name]
    config = with_defaults(dict(overrides or {}), part)
    _check(config, part, name)
    return config


def used_by(name: str, params: Mapping[str, Any], use: str) -> dict[str, Any]:
    """The keys of a stage's slice that a use rests on.

    Args:
        name: the stage.
        params: its section, complete, and perhaps keys that are not of the section (the seed).
        use: ``inference``, ``training`` or ``cohort`` (the page of all); a property that the schema
            marks with another ``use``, at any depth, is left out, so that it runs nothing that does
            not rest on it.
    """
    return _used(params, schema()["properties"][name], use)


def _used(params: Mapping[str, Any], part: Mapping[str, Any], use: str) -> dict[str, Any]:
    known = part.get("properties", {})
    kept = {}
    for key, value in params.items():
        inner = known.get(key, {})
        if inner.get("use", use) == use:
            kept[key] = _used(value, inner, use) if isinstance(value, Mapping) else value
    return kept


def _typed(value: Any, part: Mapping[str, Any]) -> Any:
    """Read text as the number it stands for where the schema has no text.

    Snakemake hands the inner values of ``--config denoise="{strength: 0.8}"`` over as text.
    """
    if isinstance(value, dict):
        inner = part.get("properties", {})
        return {key: _typed(item, inner.get(key, {})) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, part.get("items", {})) for item in value]
    kinds = part.get("type", "string")
    if isinstance(value, str) and "string" not in kinds:
        try:
            return yaml.safe_load(value)
        except yaml.YAMLError:
            return value
    return value


def with_defaults(config: dict[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a mapping with the defaults of its schema, at every depth."""
    result = copy.deepcopy(config)
    for key, sub in part.get("properties", {}).items():
        if sub.get("type") == "object" and "properties" in sub:
            inner = result.get(key, {})
            if isinstance(inner, dict):
                result[key] = with_defaults(inner, sub)
        elif key not in result and "default" in sub:
            result[key] = copy.deepcopy(sub["default"])
    return result


def _check(config: Mapping[str, Any], part: Mapping[str, Any], prefix: str = "") -> None:
    faults = sorted(Draft202012Validator(part).iter_errors(config), key=lambda e: list(e.path))
    if not faults:
        return
    described = [_describe(fault, prefix) for fault in faults]
    code = described[0][0]
    what = "; ".join(text for _, text in described[:5])
    raise VoxelwayError(code, what, hint="config/README.md lists every key, its type and default")


def _describe(fault: ValidationError, prefix: str) -> tuple[str, str]:
    place = ".".join([prefix, *map(str, fault.absolute_path)]).strip(".")
    if fault.validator == "additionalProperties":
        part: Any = fault.schema
        given: Any = fault.instance
        known = sorted(part["properties"])
        unknown = sorted(set(given) - set(known))
        texts = []
        for key in unknown:
            near = difflib.get_close_matches(str(key), known, n=1)
            guess = f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"
            texts.append(f"{(place + '.' if place else '') + str(key)!r} is no key{guess}")
        return "E-CONFIG-KEY", "; ".join(texts)
    return "E-CONFIG-VALUE", f"{place or 'the configuration'}: {fault.message}"
