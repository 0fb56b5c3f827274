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


def compare(config: Config, parts: Parts, report: Report = lambda _doing: None) -> DnisResult:
    """Search by DNIS, prune to each size of `[dnis] shares`, and judge it and its controls on the test part.

    The test part decides nothing. The same log, configuration and seed give the same result.
    """
    space, section = Space.of(config, parts.training, parts.validation, parts.test), config.dnis
    report("warm start")
    warm = Supernet(space)
    train(space, warm, epochs=section.epochs, lr=section.lr, stage=_WARM)
    found = {
        "dnis": _searched(space, warm, section, "dnis", report),
        "magnitude": _searched(space, warm, section.model_copy(update={"alpha_lr": 0.0}), "magnitude", report),
    }
    points = [point for share in section.shares for point in _points(space, found, share, report)]
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


def _searched(space: Space, warm: Supernet, section: DnisSection, method: str, report: Report) -> _Searched:
    net = copy.deepcopy(warm)
    return _Searched(net, selection.search(space, net, section, lambda epoch: report(f"{method}: epoch {epoch + 1}")))


def _points(space: Space, found: Mapping[str, _Searched], share: float, report: Report) -> list[SizedModel]:
    """One for each method."""
    pruned = {name: masks.largest(one.factors_VK * one.net.rows_VK, share) for name, one in found.items()}
    points = []
    for name, mask_VK in pruned.items():
        report(f"{name}: {share:.0%} of all values")
        points.append(_retrained(space, found[name], name, share, mask_VK))
    narrow = {"uniform": masks.uniform_dims(space, share), "tables": masks.table_dims(space, pruned["dnis"])}
    fresh = {"random": masks.at_random(space, share)}
    fresh |= {name: masks.by_table(space, dims) for name, dims in narrow.items()}
    for name, mask_VK in fresh.items():
        report(f"{name}: {share:.0%} of all values")
        points.append(_from_the_beginning(space, name, share, mask_VK, narrow.get(name)))
    return points


def _retrained(space: Space, one: _Searched, name: str, share: float, mask_VK: Tensor) -> SizedModel:
    net, section = copy.deepcopy(one.net), space.config.dnis
    with torch.no_grad():
        net.rows_VK.mul_(one.factors_VK * mask_VK)
    masked = net.with_factors(mask_VK)
    train(space, net, masked, epochs=section.retrain_epochs, lr=section.lr, stage=_RETRAIN)
    return SizedModel(name, share, int(mask_VK.sum()), judge(space, net, space.test, masked))


def _from_the_beginning(
    space: Space, name: str, share: float, mask_VK: Tensor, dims: dict[str, int] | None
) -> SizedModel:
    net, section = Supernet(space), space.config.dnis
    masked = net.with_factors(mask_VK)
    train(space, net, masked, epochs=section.epochs, lr=section.lr, stage=_WARM)
    return SizedModel(name, share, int(mask_VK.sum()), judge(space, net, space.test, masked), dims)
