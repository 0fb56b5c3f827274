"""The rows of the gates and of all groups, one after the other in one row for each id.

Shape suffixes: U ids of a table, F sparse fields, K coordinates of a model's row, D of a served row, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedding.store import Delta, Floats, TableDelta
from recsys.search.ihas.contender import FittedMember
from recsys.search.supernet import Space, Supernet

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ServedRows:
    """What Redis holds. A group keeps of a table what any of the table's fields keeps."""

    searched: int
    """The first coordinates of a row, K: those of the search, which the gates read."""
    tables: dict[str, TableDelta]
    places_GFK: list[Places]
    """Where a served row has the coordinates of a group; `dim` for those that the group does not keep."""

    @staticmethod
    def of(space: Space, searched: Supernet, members: Sequence[FittedMember]) -> ServedRows:
        table_of = space.vocabulary.table_of
        kept_G = [_kept(member, table_of) for member in members]
        ends = dict.fromkeys(space.vocabulary.tables, space.dim)
        starts_G = []
        for kept in kept_G:
            starts_G.append(dict(ends))
            ends = {table: end + len(kept[table]) for table, end in ends.items()}
        tables = {}
        for table, dim in ends.items():
            values_UD = np.zeros((len(space.vocabulary.ids[table]), dim), np.float32)
            values_UD[:, : space.dim] = _rows(space, searched, table)
            for member, kept, starts in zip(members, kept_G, starts_G, strict=True):
                places_U = np.searchsorted(space.vocabulary.ids[table], member.space.vocabulary.ids[table])
                own = slice(starts[table], starts[table] + len(kept[table]))
                values_UD[places_U, own] = _rows(member.space, member.net, table)[:, kept[table]]
            tables[table] = TableDelta(space.vocabulary.ids[table], values_UD, np.empty(0, np.uint64))
        dim = max(ends.values())
        places = [_places(*of, table_of, dim) for of in zip(members, kept_G, starts_G, strict=True)]
        return ServedRows(space.dim, tables, places)

    @property
    def dims(self) -> dict[str, int]:
        """By table."""
        return {name: table.values_UD.shape[1] for name, table in self.tables.items()}

    @property
    def dim(self) -> int:
        """D, of the widest table."""
        return max(self.dims.values())

    def delta(self) -> Delta:
        """All rows, in place of what was published before."""
        return Delta(1, True, self.tables)


def _kept(member: FittedMember, table_of: Mapping[str, str]) -> dict[str, Places]:
    """The coordinates that a member keeps of each table."""
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for table, mask_K in zip(table_of.values(), member.mask_FK.numpy() > 0, strict=True):
        masks[table] = masks.get(table, np.zeros_like(mask_K)) | mask_K
    return {table: np.flatnonzero(mask_K) for table, mask_K in masks.items()}


def _rows(space: Space, net: Supernet, table: str) -> Floats:
    """The rows of a table's ids, in the order of the ids."""
    rows_VK: Floats = net.rows_VK.detach().numpy()
    return rows_VK[space.vocabulary.numbers[table]]


def _places(
    member: FittedMember, kept: Mapping[str, Places], starts: Mapping[str, int], table_of: Mapping[str, str], dim: int
) -> Places:
    mask_FK = member.mask_FK.numpy() > 0
    places_FK = np.full(mask_FK.shape, dim, np.int64)
    for place_K, mask_K, table in zip(places_FK, mask_FK, table_of.values(), strict=True):
        places_K = starts[table] + np.searchsorted(kept[table], np.arange(len(mask_K)))
        place_K[mask_K] = places_K[mask_K]
    return places_FK
