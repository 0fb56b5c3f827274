"""DNIS beside what it must beat: accuracy against size.

| method | rows | trained |
|---|---|---|
| dnis | factors that were searched, then pruned by magnitude | warm start, search, retraining |
| magnitude | pruned by magnitude; factors stay 1 | as dnis |
| random | values drawn at random | from the beginning |
| uniform | all as narrow | from the beginning |
| tables | as wide in each table as the rows of dnis are in the mean | from the beginning |

Shape suffixes as in `recsys.search.supernet`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys.config.schema import Config
from recsys.config.sections.learning.search import DnisSection
from recsys.evaluation.replay.evaluation import settings_of
from recsys.fit.parts import Parts
from recsys.search import masks
from recsys.search.dnis import selection
from recsys.search.dnis.dnis_result import DnisResult, SizedModel
from recsys.search.search_folder import SearchFolder
from recsys.search.supernet import Space, Supernet
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
    found = {
        "dnis": comparison.searched(warm, section, "dnis"),
        "magnitude": comparison.searched(warm, section.model_copy(update={"alpha_lr": 0.0}), "magnitude"),
    }
    points = [point for share in section.shares for point in comparison.points(found, share)]
    blocks_V = space.vocabulary.blocks(section.blocks)
    firsts = [int((blocks_V < block).sum()) for block in range(section.blocks) if (blocks_V == block).any()]
    return DnisResult(
        ids=space.vocabulary.sizes(),
        values=warm.rows_VK.numel(),
        alpha=found["dnis"].factors_VK[firsts].tolist(),
        whole=judge(space, warm, space.test),
        points=points,
        config=settings_of(config) | {name: getattr(config, name).model_dump(mode="json") for name in ("fit", "dnis")},
    )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Keeps each stage and each model in `folder`."""

    space: Space
    folder: SearchFolder
    report: Report

    def searched(self, warm: Supernet, section: DnisSection, method: str) -> _Searched:
        net = copy.deepcopy(warm)

        def began(epoch: int) -> None:
            self.report(f"{method}: epoch {epoch + 1}")

        factors_VK = selection.search(self.space, net, section, began, self.folder, f"{method} search")
        return _Searched(net, factors_VK)

    def points(self, found: Mapping[str, _Searched], share: float) -> list[SizedModel]:
        """One for each method."""
        space = self.space
        pruned = {name: masks.largest(one.factors_VK * one.net.rows_VK, share) for name, one in found.items()}
        narrow = {"uniform": masks.uniform_dims(space, share), "tables": masks.table_dims(space, pruned["dnis"])}
        fresh = {"random": masks.at_random(space, share)}
        fresh |= {name: masks.by_table(space, dims) for name, dims in narrow.items()}
        return [self._point(name, share, mask_VK, found[name]) for name, mask_VK in pruned.items()] + [
            self._point(name, share, mask_VK, None, narrow.get(name)) for name, mask_VK in fresh.items()
        ]

    def _point(
        self,
        name: str,
        share: float,
        mask_VK: Tensor,
        searched: _Searched | None,
        dims: dict[str, int] | None = None,
    ) -> SizedModel:
        """A model of one size: what was `searched`, retrained, or else one from the beginning."""
        self.report(f"{name}: {share:.0%} of all values")
        kept = f"{name} {share:g}"

        def judged() -> SizedModel:
            net, epochs, stage = self._beginning(searched, mask_VK)
            masked, lr = net.with_factors(mask_VK), self.space.config.dnis.lr
            train(self.space, net, masked, epochs=epochs, lr=lr, stage=stage, folder=self.folder, name=kept)
            test = judge(self.space, net, self.space.test, masked)
            return SizedModel(name, share, int(mask_VK.sum()), test, dims)

        return self.folder.result(kept, SizedModel, judged)

    def _beginning(self, searched: _Searched | None, mask_VK: Tensor) -> tuple[Supernet, int, int]:
        """A model to train, for how many epochs at most, and the number of the stage."""
        section = self.space.config.dnis
        if searched is None:
            return Supernet(self.space), section.epochs, _WARM
        net = copy.deepcopy(searched.net)
        with torch.no_grad():
            net.rows_VK.mul_(searched.factors_VK * mask_VK)
        return net, section.retrain_epochs, _RETRAIN
