"""iHAS beside what it must beat: models of groups of rows.

| method | models | coordinates |
|---|---|---|
| whole | one | all |
| ihas C | one for each of C groups of rows with alike gates; `ihas 1` is one mask | what most rows of the group keep |
| random C | one for each of C equal groups drawn at random | what most rows keep, that of `ihas 1` |
| size C | one | as wide, in all tables alike, as gives it the values of all models of `ihas C` together |

Shape suffixes: R rows of a part, F sparse fields, K coordinates of a row, X = F * K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from recsys.config.schema import Config
from recsys.evaluation.result_settings import settings_of
from recsys.fit.parts import Parts
from recsys.models.blocks.instance_gates import Gates
from recsys.search.ihas.contender import PARTS, FittedMember, Member, Places, contender, everything
from recsys.search.ihas.gates import GatedNet
from recsys.search.ihas.grouping import Floats, Grouping, mask_of, open_gates
from recsys.search.ihas.ihas_result import Contender, IhasResult
from recsys.search.search_folder import SearchFolder
from recsys.search.supernet import NARROWEST, Space, Supernet
from recsys.search.supernet_training import train

Report = Callable[[str], None]


def search(space: Space, folder: SearchFolder) -> GatedNet:
    """The first stage: rows, predictor and gates learn together on the training part."""
    config, section = space.config, space.config.ihas
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.training.seed)
        gates = Gates(len(space.vocabulary.table_of), space.dim, section.gates)
    ramp = -(-len(space.training) // config.training.batch_size)
    gated = GatedNet(Supernet(space), gates, section.sparsity, section.polarization, ramp)
    train(
        space,
        gated,
        epochs=section.epochs,
        lr=section.lr,
        stage=0,
        penalty=lambda: gated.penalty,
        rates_of={"gates": section.gate_lr},
        folder=folder,
        name="search",
    )
    return gated


def compare(
    config: Config, parts: Parts, report: Report = lambda _doing: None, folder: SearchFolder | None = None
) -> IhasResult:
    """Search the gates, and judge models by group and their controls on the test part, which decides nothing.

    The same log, configuration and seed give the same result, also of a comparison that was killed and goes on from
    what is in `folder`.
    """
    report("search")
    study = IhasStudy.of(config, parts, folder or SearchFolder())
    report("whole")
    contenders = [study.one("whole", config.features.dim)]
    for count in config.ihas.groups:
        report(f"{count} groups" if count > 1 else "one group")
        found = study.ihas(count)
        contenders += [found, study.one(f"size {count}", study.dim_of(found.values))]
        if count > 1:
            contenders.append(study.random(count))
    return IhasResult(open=study.kept, contenders=contenders, config=settings_of(config, "fit", "ihas"))


@dataclass(frozen=True, slots=True)
class IhasStudy:
    """The rows of the parts, and pi [R, X] of the searched gates for each of them."""

    config: Config
    parts: Parts
    space: Space
    gated: GatedNet
    open: dict[str, Floats]
    folder: SearchFolder
    """Has the search and the contenders so far."""

    @staticmethod
    def of(config: Config, parts: Parts, folder: SearchFolder) -> IhasStudy:
        space = Space.of(config, parts.training, parts.validation, parts.test)
        gated = search(space, folder)
        found = {part: open_gates(gated, getattr(space, part)) for part in PARTS}
        return IhasStudy(config, parts, space, gated, found, folder)

    @property
    def fields(self) -> int:
        """F."""
        return len(self.space.vocabulary.table_of)

    @property
    def kept(self) -> float:
        """Mean share of coordinates that are kept of a training row."""
        return float((self.open["training"] > 0.5).mean())

    def dim_of(self, values: int) -> int:
        """How wide all rows are that have so many values together."""
        return max(NARROWEST, round(values / len(self.space.vocabulary)))

    def one(self, method: str, dim: int) -> Contender:
        """One model with rows of a dimension."""
        features = self.config.features.model_copy(update={"dim": dim})
        config = self.config.model_copy(update={"features": features})
        member = Member(torch.ones(self.fields, dim), everything(self.parts), self.space.scaling)
        return contender(method, config, self.parts, [member], self.folder)

    def ihas(self, count: int) -> Contender:
        """The second and third stage."""
        return contender(_name(count), self.config, self.parts, self.members(self.grouping(count)), self.folder)

    def fitted(self, count: int) -> list[FittedMember]:
        """The models of the groups, as the search keeps them."""
        members = self.members(self.grouping(count))
        return [
            FittedMember.of(self.config, self.parts, member, self.folder, f"{_name(count)}.{number}")
            for number, member in enumerate(members)
        ]

    def grouping(self, count: int) -> Grouping:
        return Grouping.of(self.open["training"], count, self.config.training.seed)

    def members(self, grouping: Grouping) -> list[Member]:
        """Rows and coordinates of each group."""
        groups = {part: grouping.groups(open_RX) for part, open_RX in self.open.items()}
        members = []
        for group in range(len(grouping.centroids_CX)):
            places = {part: np.flatnonzero(groups_R == group) for part, groups_R in groups.items()}
            mask_FK = mask_of(self.open["training"][places["training"]], self.fields)
            members.append(Member(mask_FK, places, self.space.scaling, keeps=True))
        return members

    def random(self, count: int) -> Contender:
        """Groups of equal size that nothing distinguishes."""
        mask_FK = mask_of(self.open["training"], self.fields)
        members = [Member(mask_FK, self._drawn(group, count), self.space.scaling) for group in range(count)]
        return contender(f"random {count}", self.config, self.parts, members, self.folder)

    def _drawn(self, group: int, count: int) -> Places:
        draw = np.random.default_rng((self.config.training.seed, count))
        orders = {part: draw.permutation(len(open_RX)) for part, open_RX in self.open.items()}
        return {part: np.sort(order_R[group::count]) for part, order_R in orders.items()}


def _name(groups: int) -> str:
    return f"ihas {groups}"
