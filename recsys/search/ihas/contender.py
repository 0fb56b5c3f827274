"""Models that divide the rows among them: trained, judged together, and counted honestly.

Shape suffixes: R rows of a part, F sparse fields, K coordinates of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from recsys import wiring
from recsys.config.schema import Config
from recsys.fit.fit_result import Figures
from recsys.fit.parts import Parts
from recsys.fit.scoring import figures_of
from recsys.search.ihas.ihas_result import Contender, RowGroup
from recsys.search.ihas.platt import Floats, platt, scaled
from recsys.search.search_folder import SearchFolder
from recsys.search.supernet import Space, Supernet
from recsys.search.supernet_training import scores, train
from recsys.training.dense.peers import Scores
from streaming.encode.batch import TrainingBatch
from streaming.encode.scaling import Scaling

PARTS = ("training", "validation", "test")
Places = Mapping[str, npt.NDArray[np.int64]]
"""Numbers [R] of some rows of each part."""


@dataclass(frozen=True, slots=True)
class Member:
    """A model of some of the rows, with the coordinates that a mask [F, K] keeps."""

    mask_FK: Tensor
    places: Places
    scaling: Scaling
    """Of the numbers of all rows, since a server has one for all members."""
    keeps: bool = False
    """Whether its weights stay in the folder of the search."""


def everything(parts: Parts) -> Places:
    """All rows of each part."""
    return {part: np.arange(len(getattr(parts, part))) for part in PARTS}


def contender(method: str, config: Config, parts: Parts, members: Sequence[Member], folder: SearchFolder) -> Contender:
    """Train each member from the beginning on its own training rows, with rows of its own for their ids."""
    return folder.result(method, Contender, lambda: _trained(method, config, parts, members, folder))


def _trained(method: str, config: Config, parts: Parts, members: Sequence[Member], folder: SearchFolder) -> Contender:
    scores_R, calibrated_R = np.zeros((2, len(parts.test)), np.float32)
    groups = []
    for number, member in enumerate(members):
        fitted, places_R = FittedMember.of(config, parts, member, folder, f"{method}.{number}"), member.places["test"]
        groups.append(fitted.group())
        scores_R[places_R], calibrated_R[places_R] = fitted.scores, fitted.calibrated()
    values = sum(group.values for group in groups)
    return Contender(method, groups, values, *(_figures(config, parts.test, R) for R in (scores_R, calibrated_R)))


@dataclass(frozen=True, slots=True)
class FittedMember:
    """A member after its training."""

    config: Config
    mask_FK: Tensor
    parts: Parts
    """Its own rows."""
    space: Space
    net: Supernet
    scores: Scores
    """Of its test rows, and of its validation rows:"""
    validated: Scores

    @staticmethod
    def of(config: Config, parts: Parts, member: Member, folder: SearchFolder, name: str) -> FittedMember:
        """Reads the weights that `folder` keeps under `name`, else trains them."""
        places = dict(member.places)
        if not len(places["validation"]):  # a group of few rows: its epoch is chosen by the rows of all
            places["validation"] = np.arange(len(parts.validation))
        own = replace(parts, **{part: getattr(parts, part).take(places[part]) for part in PARTS})
        space = Space.of(config, own.training, own.validation, own.test, member.scaling)
        net = Supernet(space)

        def masked(batch: TrainingBatch) -> Tensor:
            return net.logits(net.embedded(batch) * member.mask_FK, batch)

        section, kept = config.ihas, f"model of {name}"
        if (known := folder.read_stage(kept)) is not None:
            net.load_state_dict(known[0])
        else:
            train(space, net, masked, epochs=section.epochs, lr=section.lr, stage=1, folder=folder, name=name)
            if member.keeps:
                folder.write_stage(kept, net.state_dict(), {})
        found = (scores(net, rows, masked) for rows in (space.test, space.validation))
        return FittedMember(config, member.mask_FK, own, space, net, *found)

    def calibrated(self) -> Floats:
        """The scores of the test rows, on the scale of the labels of the validation rows."""
        return scaled(self.scores.astype(np.float64), *self.calibration())

    def calibration(self) -> tuple[float, float]:
        """Factor and constant of the logits, by Platt scaling on the validation rows."""
        return platt(self.validated.astype(np.float64), self.parts.validation.labels_B.astype(np.float64))

    def group(self) -> RowGroup:
        test = _figures(self.config, self.parts.test, self.scores)
        return RowGroup(self.parts.rows, _dims(self.space, self.mask_FK), _values(self.space, self.mask_FK), test)


def _figures(config: Config, rows: TrainingBatch, scores_R: Scores) -> dict[str, Figures]:
    return figures_of([task.name for task in wiring.tasks(config)], rows, scores_R)


def _dims(space: Space, mask_FK: Tensor) -> dict[str, int]:
    """By field."""
    return dict(zip(space.vocabulary.table_of, mask_FK.sum(1).int().tolist(), strict=True))


def _values(space: Space, mask_FK: Tensor) -> int:
    """A table has the coordinates that any of its fields keeps."""
    kept = {table: mask_FK.new_zeros(mask_FK.shape[1]) for table in space.vocabulary.tables}
    for table, mask_K in zip(space.vocabulary.table_of.values(), mask_FK, strict=True):
        kept[table] = kept[table].maximum(mask_K)
    sizes = space.vocabulary.sizes()
    return sum(sizes[table] * int(mask_K.sum()) for table, mask_K in kept.items())
