"""The plan of a cascade: what training derives from the data, and what inference reads.

Sizes and spacings are along x, y, z of the image turned to LPS. Network ``LEVEL.0``, ``LEVEL.1``, …
of a bundle are the members of a level's ensemble.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline import files
from pipeline.errors import VoxelwayError

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

FILE = "plan.json"
#: Contrast of a model that has learned from images of random contrast.
ANY = "any"


@dataclass(frozen=True)
class Intensity:
    """How an image is scaled for the first level.

    Later levels take mean and deviation inside what the level before found, except with a window.

    Attributes:
        kind: ``percentile`` (``low`` and ``high`` percent of the voxels that are not the lowest
            value go to 0 and 1), ``zscore`` (mean 0, deviation 1 over the image) or ``window``
            (``low`` and ``high`` in the image's own units, as HU, go to 0 and 1; clipped).
        low: see kind.
        high: see kind.
    """

    kind: Literal["percentile", "zscore", "window"] = "percentile"
    low: float = 0.5
    high: float = 99.5


@dataclass(frozen=True)
class PriorGrid:
    """Where the atlas of a level lies; its shares are kept with the weights of the networks.

    Attributes:
        origin: of its first voxel, mm, x, y, z.
        spacing: mm.
        size: voxels, x, y, z.
        centres: x, y, z of the centre of each class of the level before, the mean over the cases.
    """

    origin: Spacing
    spacing: Spacing
    size: Triple
    centres: tuple[Spacing, ...]


@dataclass(frozen=True)
class Appearance:
    """That the last level's borders are drawn again by what each class looks like in the image.

    Attributes:
        groups: labels that look alike, as all grey matter: few voxels of one are judged by the
            others too. A label of no group stands alone.
    """

    groups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Plane:
    """Two labels that a plane divides, as far as training cases show.

    Attributes:
        lower: label on the side where the axis begins; LPS: right, anterior or inferior.
        upper: label on the other side.
        axis: 0, 1, 2 for x, y, z, which the plane is across.
    """

    lower: int
    upper: int
    axis: int


@dataclass(frozen=True)
class Level:
    """One level of the cascade.

    Attributes:
        name: in the bundle and in the sidecar.
        spacing: mm.
        patch: voxels of the sliding window; a smaller image is filled up.
        classes: labels of each output channel but the background's, which is channel 0. A channel
            of several labels, as left and right, is split by the level before: each voxel goes to
            the place in the group whose labels that level gives the larger sum over all groups.
        regions: whether a channel of several labels is one region instead, as all of a hemisphere,
            which is not split and shows as its first label; not at the last level.
        crop: labels of the level before whose box this level works in; empty: the whole image.
        margin: mm around that box.
        context: whether the posteriors of the level before are further channels of the input: in
            this level's classes, or as they are where that level has regions (auto-context; Tu and
            Bai 2010, doi:10.1109/TPAMI.2009.186).
        inside: labels of the level before outside of which this level finds nothing; empty: all.
            With it lesions are found as whole, core and inner part, each inside the last
            (Wang et al. 2018, doi:10.1007/978-3-319-75238-9_16).
        architecture: name in :mod:`pipeline.networks`.
        arguments: of the architecture.
        members: networks of the ensemble.
        temperature: that the logits are divided by, fitted on validation cases
            (Guo et al. 2017, doi:10.48550/arXiv.1706.04599).
        prior: grid of an atlas, the mean of the training cases, that is laid over the image by the
            centres of what the level before found; its shares are the last channels of the input.
        planes: that divide labels which have a channel each; at the last level only. See
            :mod:`pipeline.segment.cascade.planes`.
    """

    name: str
    spacing: Spacing
    patch: Triple
    classes: tuple[tuple[int, ...], ...]
    crop: tuple[int, ...] = ()
    margin: float = 8.0
    context: bool = False
    inside: tuple[int, ...] = ()
    architecture: str = "unet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    members: int = 1
    temperature: float = 1.0
    regions: bool = False
    prior: PriorGrid | None = None
    planes: tuple[Plane, ...] = ()

    @property
    def networks(self) -> list[str]:
        """Names of the level's networks in a bundle."""
        return [f"{self.name}.{member}" for member in range(self.members)]

    @property
    def channels(self) -> int:
        """Output channels, the background's too."""
        return len(self.classes) + 1

    @property
    def labels(self) -> list[int]:
        """All labels of the level, in the order of its classes."""
        return [label for group in self.classes for label in group]

    @property
    def split(self) -> bool:
        """Whether the level before tells the labels of a channel apart."""
        return not self.regions and any(len(group) > 1 for group in self.classes)


@dataclass(frozen=True)
class CascadePlan:
    """Everything that training and inference agree on.

    Attributes:
        contrasts: of the input channels, or (:data:`ANY`,) for one image of any contrast.
        labels: rows with ``index``, ``name``, ``color``, and, where they are known, ``pair`` (the
            label on the other side), ``tissue``, ``snomed`` and ``category``.
        levels: from coarse to fine; the last one gives the result.
        intensity: scale of the image.
        facts: of the data that the plan was derived from, for people.
        appearance: see :mod:`pipeline.segment.cascade.borders`; None: the networks' borders stay.
        within_brain: whether a brain mask holds all labels, and bounds what is found.
    """

    contrasts: tuple[str, ...]
    labels: tuple[Mapping[str, Any], ...]
    levels: tuple[Level, ...]
    intensity: Intensity = Intensity()
    facts: Mapping[str, Any] = field(default_factory=dict)
    appearance: Appearance | None = None
    within_brain: bool = False

    def __post_init__(self) -> None:
        _check(self)

    @property
    def any_contrast(self) -> bool:
        """Whether one image of any contrast is the input."""
        return self.contrasts == (ANY,)

    def inputs(self, number: int) -> int:
        """Input channels of level ``number``."""
        level = self.levels[number]
        own = len(self.contrasts) + (len(level.classes) if level.prior else 0)
        if not level.context:
            return own
        before = self.levels[number - 1]
        return own + len((before if before.regions else level).classes)

    def as_json(self) -> dict[str, Any]:
        """For plan.json and a bundle's metadata."""
        return dataclasses.asdict(self)

    def write(self, path: Path) -> None:
        """Write plan.json."""
        files.write_json(path, self.as_json())


def read(path: Path) -> CascadePlan:
    """Read plan.json.

    Raises:
        VoxelwayError: E-CONFIG-VALUE when it is no plan.
    """
    return of(files.read_json(path), str(path))


def of(content: Any, where: str) -> CascadePlan:
    """A plan from its JSON.

    Raises:
        VoxelwayError: E-CONFIG-VALUE when it is no plan.
    """
    try:
        return CascadePlan(
            tuple(content["contrasts"]),
            tuple(content["labels"]),
            tuple(_level(item) for item in content["levels"]),
            Intensity(**content["intensity"]),
            content.get("facts", {}),
            _appearance(content.get("appearance")),
            bool(content.get("within_brain", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"This is no plan of a cascade: {type(error).__name__}: {error}"
        hint = "Let `voxelway train segment` derive it again: remove the file"
        raise VoxelwayError("E-CONFIG-VALUE", what, where=where, hint=hint) from error


def in_bundle(metadata: Mapping[str, Any], where: str) -> CascadePlan:
    """The plan in a bundle's metadata.

    Raises:
        VoxelwayError: E-MODEL-INPUT when it holds none, E-CONFIG-VALUE for one that is damaged.
    """
    inputs = metadata.get("inputs")
    if not isinstance(inputs, Mapping) or "plan" not in inputs:
        what = "The bundle has no plan of a cascade"
        raise VoxelwayError("E-MODEL-INPUT", what, where=where)
    return of(inputs["plan"], where)


def _level(item: Mapping[str, Any]) -> Level:
    names = {entry.name for entry in dataclasses.fields(Level)}
    unknown = set(item) - names
    if unknown:
        raise ValueError(f"a level has no {', '.join(sorted(unknown))}")
    x, y, z = (float(value) for value in item["spacing"])
    i, j, k = (int(value) for value in item["patch"])
    groups = tuple(tuple(int(value) for value in group) for group in item["classes"])
    read = ("spacing", "patch", "classes", "prior", "planes")
    rest = {key: value for key, value in item.items() if key not in read}
    for key in ("crop", "inside"):
        rest[key] = tuple(int(value) for value in rest.get(key, ()))
    prior = None if item.get("prior") is None else _prior(item["prior"])
    planes = tuple(Plane(**plane) for plane in item.get("planes", ()))
    return Level(
        spacing=(x, y, z), patch=(i, j, k), classes=groups, prior=prior, planes=planes, **rest
    )


def _appearance(item: Mapping[str, Any] | None) -> Appearance | None:
    if item is None:
        return None
    return Appearance(tuple(tuple(int(label) for label in group) for group in item["groups"]))


def _prior(item: Mapping[str, Any]) -> PriorGrid:
    i, j, k = (int(value) for value in item["size"])
    centres = tuple(_triple(one) for one in item["centres"])
    return PriorGrid(_triple(item["origin"]), _triple(item["spacing"]), (i, j, k), centres)


def _triple(values: Sequence[Any]) -> Spacing:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _check(plan: CascadePlan) -> None:
    if not plan.levels or not plan.contrasts:
        raise ValueError("a plan has at least one level and one contrast")
    known = {int(row["index"]) for row in plan.labels}
    before: Sequence[int] = ()
    for number, level in enumerate(plan.levels):
        unknown = set(level.labels) - known
        if unknown or not level.classes:
            raise ValueError(f"the classes of {level.name} are labels of the plan, not {unknown}")
        asked = {*level.crop, *level.inside}
        if asked - set(before):
            raise ValueError(f"the level before {level.name} does not find {asked - set(before)}")
        if number == 0 and (level.context or level.split or level.prior):
            raise ValueError(f"{level.name} is the first level: it has no context")
        if level.prior and len(level.prior.centres) != len(plan.levels[number - 1].classes):
            raise ValueError(f"the prior of {level.name} has other centres than the level before")
        if level.regions and level is plan.levels[-1]:
            raise ValueError(f"{level.name} is the last level: its classes are no regions")
        if level.planes:
            _check_planes(level, level is plan.levels[-1] and plan.appearance is None)
        before = level.labels
    if plan.appearance is not None:
        _check_appearance(plan.appearance, known, plan.levels[-1])


def _check_planes(level: Level, last: bool) -> None:
    if not last:
        raise ValueError(f"planes divide the result of the last level's networks, not {level.name}")
    alone = {group[0] for group in level.classes if len(group) == 1}
    for plane in level.planes:
        if plane.lower == plane.upper or not {plane.lower, plane.upper} <= alone:
            raise ValueError(
                f"a plane of {level.name} divides {plane.lower} and {plane.upper}, which have no"
                " channel each"
            )
        if plane.axis not in (0, 1, 2):
            raise ValueError(f"a plane of {level.name} is across axis 0, 1 or 2")


def _check_appearance(appearance: Appearance, known: set[int], last: Level) -> None:
    named = [label for group in appearance.groups for label in group]
    if set(named) - known or len(set(named)) < len(named):
        raise ValueError("the groups of labels that look alike name labels of the plan, each once")
    if last.inside:
        raise ValueError(f"{last.name} looks inside of labels: its borders can't be drawn again")
