"""DNIS beside what it must beat: accuracy against size.

| method | rows | trained |
|---|---|---|
| dnis | factors that were searched, then pruned by magnitude | warm start, search, retraining |
| magnitude | pruned by magnitude; factors stay 1 | as dnis |
| random | values drawn at random | from the beginning |
| uniform | all as narrow | from the beginning |
| mde | as wide as a power of their frequency | from the beginning |
| tables | as wide in each table as the rows of dnis are in the mean | from the beginning |

What `[dnis] controls` leaves out is not made. A model that is trained from the beginning is as wide as its widest rows.
Two with the same coordinates are trained once.

Shape suffixes as in `recsys.search.supernet`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import torch
from torch import Tensor

from recsys.config.schema import Config
from recsys.config.sections.learning.search import DnisSection
from recsys.evaluation.result_settings import settings_of
from recsys.fit.parts import Parts
from recsys.search import masks
from recsys.search.dnis import selection
from recsys.search.dnis.dnis_result import DnisResult, SizedModel
from recsys.search.search_folder import SearchFolder
from recsys.search.supernet import NARROWEST, Space, Supernet
from recsys.search.supernet_training import judge, train

Report = Callable[[str], None]
_WARM, _RETRAIN = 0, 2
"""Stages, each with batches of its own."""


@dataclass(frozen=True, slots=True)
class _Searched:
    """A method's model before pruning, and its factors [V, K]."""

    net: Supernet
    factors_VK: Tensor


def compare(
    config: Config, parts: Parts, report: Report = lambda _doing: None, folder: SearchFolder | None = None
) -> DnisResult:
    """Search by DNIS, prune to each size of `[dnis] shares`, and judge it and its controls on the test part.

    The test part decides nothing. The same log, configuration and seed give the same result, also of a comparison that
    was killed and goes on from what is in `folder`.
    """
    space, section = Space.of(config, parts.training, parts.validation, parts.test), config.dnis
    folder = folder or SearchFolder()
    report("warm start")
    warm = Supernet(space)
    train(space, warm, epochs=section.epochs, lr=section.lr, stage=_WARM, folder=folder, name="warm start")
    comparison = _Comparison(space, folder, report)
    found = {"dnis": comparison.searched(warm, section, "dnis")}
    if "magnitude" in section.controls:
        found["magnitude"] = comparison.searched(warm, section.model_copy(update={"alpha_lr": 0.0}), "magnitude")
    points = [point for share in section.shares for point in comparison.points(found, share)]
    blocks_V = space.vocabulary.blocks(section.blocks)
    firsts = [int((blocks_V < block).sum()) for block in range(section.blocks) if (blocks_V == block).any()]
    return DnisResult(
        ids=space.vocabulary.sizes(),
        values=warm.rows_VK.numel(),
        alpha=found["dnis"].factors_VK[firsts].tolist(),
        whole=judge(space, warm, space.test),
        points=points,
        config=settings_of(config, "fit", "dnis"),
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Keeps each stage and each model in `folder`."""

    space: Space
    folder: SearchFolder
    report: Report
    made: dict[bytes, SizedModel] = field(default_factory=dict)
    """By mask: what was trained from the beginning."""

    def searched(self, warm: Supernet, section: DnisSection, method: str) -> _Searched:
        net = copy.deepcopy(warm)

        def began(epoch: int) -> None:
            self.report(f"{method}: epoch {epoch + 1}")

        factors_VK = selection.search(self.space, net, section, began, self.folder, f"{method} search")
        return _Searched(net, factors_VK)

    def points(self, found: Mapping[str, _Searched], share: float) -> list[SizedModel]:
        """One for each method."""
        space, section = self.space, self.space.config.dnis
        pruned = {name: masks.largest(one.factors_VK * one.net.rows_VK, share) for name, one in found.items()}
        narrow = {"uniform": masks.uniform_dims(space, share), "tables": masks.table_dims(space, pruned["dnis"])}
        fresh = {"random": masks.at_random(space, share), "mde": masks.by_frequency(space, share, section.blocks)}
        fresh |= {name: masks.by_table(space, dims) for name, dims in narrow.items()}
        points = [self._retrained(name, share, mask_VK, found[name]) for name, mask_VK in pruned.items()]
        asked = (name for name in section.controls if name in fresh)
        return points + [self._from_the_beginning(name, share, fresh[name], narrow.get(name)) for name in asked]

    def _retrained(self, name: str, share: float, mask_VK: Tensor, searched: _Searched) -> SizedModel:
        """What was searched, pruned to the mask, and trained again for some epochs."""

        def net() -> Supernet:
            found = copy.deepcopy(searched.net)
            with torch.no_grad():
                found.rows_VK.mul_(searched.factors_VK * mask_VK)
            return found

        return self._judged(name, share, mask_VK, self.space, net, self.space.config.dnis.retrain_epochs, _RETRAIN)

    def _from_the_beginning(self, name: str, share: float, mask_VK: Tensor, dims: dict[str, int] | None) -> SizedModel:
        """A model of rows that have the coordinates of the mask."""
        key = mask_VK.bool().numpy().tobytes()
        if key not in self.made:
            width = max(int(mask_VK.any(0).nonzero().max()) + 1, NARROWEST)
            space, narrow_VK = self.space.narrowed(width), mask_VK[:, :width]
            epochs = self.space.config.dnis.epochs
            self.made[key] = self._judged(name, share, narrow_VK, space, lambda: Supernet(space), epochs, _WARM)
        return msgspec.structs.replace(self.made[key], method=name, share=share, dims=dims)

    def _judged(
        self,
        name: str,
        share: float,
        mask_VK: Tensor,
        space: Space,
        beginning: Callable[[], Supernet],
        epochs: int,
        stage: int,
    ) -> SizedModel:
        """A model of one size after its training, on the test part."""
        self.report(f"{name}: {share:.0%} of all values")
        kept = f"{name} {share:g}"

        def judged() -> SizedModel:
            net = beginning()
            masked = net.with_factors(mask_VK)
            train(
                space, net, masked, epochs=epochs, lr=space.config.dnis.lr, stage=stage, folder=self.folder, name=kept
            )
            return SizedModel(name, share, int(mask_VK.sum()), judge(space, net, space.test, masked))

        return self.folder.result(kept, SizedModel, judged)
