"""The tables of a store, and checks of what its methods are given: a clear error before anything changes.

Suffixes: N ids of a call, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from embedding.argument_checks import (
    check_ids_by_table,
    check_lookup,
    check_lookups,
    check_table_name,
    check_time,
    contiguous_grads,
    copied_ids,
    tables_by_name,
)
from embedding.store import Floats, Ids, Lookup, Table


class CheckedTables(dict[str, Table]):
    """The tables by name. Raises InvalidValueError for duplicate names and invalid settings; so do the methods.

    >>> import numpy as np
    >>> tables = CheckedTables([Table("item", dim=4)])
    >>> tables.ids_at("item", np.array([7], np.uint64), now=0).tolist()
    [7]
    """

    def __init__(self, tables: Iterable[Table]) -> None:
        super().__init__(tables_by_name(tables))

    def check(self, table: str) -> None:
        """That there is such a table."""
        check_table_name(self, table)

    def ids(self, table: str, ids_N: Ids) -> Ids:
        """A copy of ids of a table, so that the caller may change them later."""
        self.check(table)
        return copied_ids(table, ids_N)

    def ids_at(self, table: str, ids_N: Ids, now: int) -> Ids:
        """As `ids`, of a call at event time `now`."""
        self.check(table)
        check_time(now)
        return copied_ids(table, ids_N)

    def ids_by_table(self, ids: Mapping[str, Ids]) -> dict[str, Ids]:
        """Copies of the ids of several tables."""
        check_ids_by_table(ids)
        return {table: self.ids(table, ids_N) for table, ids_N in ids.items()}

    def grads(self, lookup: Lookup, grads_ND: Floats) -> Floats:
        """The gradients of a look-up as a contiguous array."""
        check_lookup(self, lookup)
        return contiguous_grads(lookup, grads_ND, self[lookup.table].dim)

    def grads_each(self, lookups: Sequence[Lookup], grads: Sequence[Floats]) -> list[Floats]:
        """Those of several look-ups."""
        check_lookups(lookups, grads)
        return [self.grads(lookup, grads_ND) for lookup, grads_ND in zip(lookups, grads, strict=True)]
