"""What a stage works in: reads images, writes images with sidecars, knows where it is."""

from __future__ import annotations

import importlib.metadata
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import __version__, device, files, images
from pipeline.errors import VoxelwayError
from pipeline.overlap import Ahead, Asked, Reader
from pipeline.paths import Results, Unit, sidecar

#: Packages whose version a sidecar gives when the process has them loaded: module, distribution.
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "SimpleITK": "SimpleITK",
    "ants": "antspyx",
    "torch": "torch",
    "monai": "monai",
    "pydicom": "pydicom",
    "highdicom": "highdicom",
    "deepbet": "deepbet",
    "sklearn": "scikit-learn",
    "nilearn": "nilearn",
}


@dataclass
class Task:
    """One piece of work of one stage: inputs are hashed, outputs get a sidecar.

    Attributes:
        stage: name of the stage.
        params: the stage's slice of the configuration.
        code: fingerprint of the code.
        model: SHA-256 of the model, empty without one.
        base: folder that paths in sidecars are relative to; None keeps file names only.
        ahead: what was read before it is asked for.
        pending: images that :meth:`flush` writes, while others are worked on; None writes at once.
    """

    stage: str
    params: Mapping[str, Any]
    code: str = ""
    model: str = ""
    base: Path | None = None
    ahead: Ahead | None = None
    pending: list[Callable[[], None]] | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def read(self, path: Path, **options: Any) -> sitk.Image:
        """Read an image with :func:`images.read_image`; its hash goes into later sidecars."""
        return self._read(images.read_image, path, options)

    def read_labels(self, path: Path) -> sitk.Image:
        """Read labels or a mask with :func:`images.read_labels`."""
        return self._read(images.read_labels, path, {})

    def _read(self, reader: Reader, path: Path, options: Mapping[str, Any]) -> sitk.Image:
        ask = Asked(reader, path, tuple(sorted(options.items())))
        found = self.ahead.take(ask) if self.ahead is not None else None
        if found is None:
            self.use(path)
            return reader(path, **options)
        self._use(path, found.digest)
        return found.image

    def use(self, path: Path) -> Path:
        """Record a file as an input; refuse it when it is not what its sidecar describes."""
        if not path.is_file():
            raise VoxelwayError("E-IMG-MISSING", "The image does not exist", where=str(path))
        return self._use(path, files.sha256(path))

    def _use(self, path: Path, digest: str) -> Path:
        described = sidecar(path)
        if described.is_file():
            expected = files.read_json(described).get("Sha256", {})
            if isinstance(expected, dict) and expected.get(path.name, digest) != digest:
                hint = "It was changed or damaged after it was written; run its stage again"
                what = "The file's SHA-256 is not the one in its sidecar"
                raise VoxelwayError("E-IMG-CHANGED", what, where=str(path), hint=hint)
        self.inputs[self._name(path)] = digest
        return path

    def write(self, image: sitk.Image, path: Path, **facts: Any) -> Path:
        """Write an image, which is not touched again, and its sidecar; now or with :meth:`flush`.

        Args:
            image: what to write.
            path: where.
            facts: more entries of the sidecar, CamelCase as in BIDS.
        """
        if self.pending is None:
            self._write(image, path, facts)
        else:
            self.pending.append(lambda: self._write(image, path, facts))
        return path

    def flush(self) -> None:
        """Write what is pending."""
        while self.pending:
            self.pending.pop(0)()

    def _write(self, image: sitk.Image, path: Path, facts: Mapping[str, Any]) -> None:
        images.write_image(image, path)
        try:
            self.describe(path, **facts)
        except VoxelwayError:
            # an image without its sidecar would be half of a result
            path.unlink(missing_ok=True)
            raise

    def describe(self, path: Path, **facts: Any) -> Path:
        """Write the sidecar of a file that stands already, and count it as an output."""
        digest = files.sha256(path)
        self.outputs[self._name(path)] = digest
        content = {
            "GeneratedBy": {"Name": "voxelway", "Version": __version__, "Stage": self.stage},
            "Inputs": dict(self.inputs),
            "Parameters": dict(self.params),
            "Method": self.params.get("method", self.stage),
            "Code": self.code,
            "Model": self.model,
            "Versions": _versions(),
            "Seconds": round(self.seconds, 2),
            "PeakMemoryMB": peak_memory_mb(),
            "Device": device.used(),
            "Seed": self.params.get("seed", 0),
            "Sha256": {path.name: digest},
            **facts,
        }
        files.write_json(sidecar(path), content)
        return path

    def count(self, path: Path) -> Path:
        """Count a file that has no sidecar (a table, numbers) as an output."""
        self.outputs[self._name(path)] = files.sha256(path)
        return path

    def warn(self, text: str) -> None:
        """Note something that the reader of the QC page has to know."""
        self.warnings.append(text)
        print(f"warning: {text}", file=sys.stderr)

    @property
    def seconds(self) -> float:
        """Seconds since the task began."""
        return time.monotonic() - self.started

    def _name(self, path: Path) -> str:
        if self.base is not None:
            try:
                return path.resolve().relative_to(self.base.resolve()).as_posix()
            except ValueError:
                pass
        return path.name


@dataclass
class UnitTask(Task):
    """A task on one unit of a results folder."""

    results: Results = field(default_factory=lambda: Results(Path()))
    unit: Unit = field(default_factory=lambda: Unit("", ""))

    def contrasts(self, stage: str, *, desc: str = "", space: str = "") -> dict[str, Path]:
        """Images of this unit that a stage wrote, suffix → path, in the order of the names."""
        folder = self.results.anat(stage, self.unit)
        start = self.results.image(stage, self.unit, "", desc=desc, space=space, extension="").name
        found = {}
        for path in sorted(folder.glob(f"{start}*.nii.gz")):
            suffix = path.name.removeprefix(start).removesuffix(".nii.gz")
            if suffix and "_" not in suffix and "-" not in suffix:
                found[suffix] = path
        return found

    def anchor(self) -> str:
        """Suffix of the contrast whose space is the unit's common grid, as superres left it.

        Raises:
            VoxelwayError: E-IMG-INPUT when superres wrote no mask.
        """
        masks = sorted(self.results.anat("superres", self.unit).glob("*_desc-brain_mask.nii.gz"))
        for path in masks:
            for entity in path.name.split("_"):
                if entity.startswith("space-"):
                    return entity.removeprefix("space-")
        what = "No brain mask on the common grid"
        raise VoxelwayError("E-IMG-INPUT", what, where=self.unit.name, hint="Run superres first")


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for module, distribution in PACKAGES.items():
        if module in sys.modules:
            found[distribution] = importlib.metadata.version(distribution)
    return found


def peak_memory_mb() -> int:
    """Largest resident memory of this process so far, MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
