"""After the training of a network: the volumes and the logits of its validation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from pipeline.segment.cascade import borders, calibration, planes, uncertainty, window
from pipeline.segment.cascade.plan import Appearance, Level
from pipeline.segment.cascade.volume import Floats
from pipeline.segment.learning import samples
from pipeline.training.data import SeededSamples, collate

#: A network alone has no spread.
_ALONE = np.zeros((1, 1))
#: Voxels of a sample whose logits are kept for the temperature.
KEPT = 20_000


@dataclass
class Volumes:
    """Volumes of validation cases beside the true ones, in voxels, and the doubt about them."""

    found: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    halves: list[float] = field(default_factory=list)

    def add(
        self,
        network: nn.Module,
        level: Level,
        held_out: SeededSamples,
        alike: Appearance | None = None,
        channels: int = 1,
    ) -> None:
        """Take up the samples of one network; the level's temperature is fitted already.

        Args:
            network: of the level.
            level: the last one.
            held_out: whole validation cases.
            alike: of the plan; with it borders are drawn again, as on images.
            channels: of the image; they are the first of the samples.
        """
        for index in range(len(held_out)):
            sample = collate([held_out[index]])
            target = sample["target"][0].numpy()
            if (target < 0).any():
                continue
            scores = samples.logits(network, level, sample["image"])
            share: Floats = window.softmax(scores, level.temperature)[0].numpy()
            if alike is not None:
                own_image = sample["image"][0, :channels].float().numpy()
                share = borders.on_level(share, own_image, level, alike)
            share = planes.divided(share, level)
            labels = share.argmax(axis=0)
            for number, one in enumerate(share[1:], start=1):
                own = labels == number
                both, size = float(one[own].sum()), int(np.count_nonzero(own))
                self.found.append(float(size))
                self.true.append(float(np.count_nonzero(target == number)))
                wrong = uncertainty.expected_wrong(both, float(one.sum()), size)
                self.halves.append(float(uncertainty.halves(_ALONE, [wrong])[0]))

    def factor(self) -> float:
        """What the halves of intervals are multiplied by; 1 without a case."""
        sure = [one for one in zip(self.found, self.true, self.halves, strict=True) if one[2] > 0]
        if not sure:
            return 1.0
        found, true, halves = zip(*sure, strict=True)
        return calibration.interval_factor(found, true, halves)


def logits(
    network: nn.Module, level: Level, held_out: SeededSamples
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Logits (N, C) and classes (N,) of random voxels of each validation sample.

    The background's too: what it leaks into a structure counts in the structure's volume.
    """
    found = []
    with torch.no_grad():
        for number in range(len(held_out)):
            sample = collate([held_out[number]])
            target = sample["target"].reshape(-1)
            output = samples.logits(network, level, sample["image"])
            flat = output[0].reshape(output.shape[1], -1).T
            generator = torch.Generator().manual_seed(number)
            valid = torch.nonzero(target >= 0)[:, 0]
            chosen = valid[torch.randperm(len(valid), generator=generator)[:KEPT]]
            found.append((flat[chosen].clone(), target[chosen]))
    return found
