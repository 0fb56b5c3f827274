"""Multiplexed rows: which tables have them, and which of them an id without its own row reads.

All tables of one dimension, optimizer and number of these rows share them. The model's weights for each field tell
apart ids of different tables that read the same row (Unified Embedding, Coleman et al. 2023). In deltas these rows are
a separate table, whose ids are the row numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from embedding.hashing import salt_of
from embedding.store import FALLBACK_ROWS, Fallback, Ids, Table

PREFIX = "fallback."
"""Reserved: table names must not begin with it."""


def group_of(table: Table) -> str:
    """The name of the rows that a multiplexed table shares with others of its dimension, optimizer and their number.

    >>> group_of(Table("user", 16)) == group_of(Table("item", 16)) != group_of(Table("item", 8))
    True
    """
    rule = table.optimizer
    betas = float(rule.betas[0]), float(rule.betas[1])  # 1 and 1.0 are the same
    norm = None if rule.max_norm is None else float(rule.max_norm)
    same = replace(rule, lr=float(rule.lr), eps=float(rule.eps), betas=betas, l1=float(rule.l1), l2=float(rule.l2))
    same = replace(same, max_norm=norm)
    return f"{PREFIX}{table.dim}.{hashlib.blake2b(repr(same).encode(), digest_size=4).hexdigest()}{_number(table)}"


def _number(table: Table) -> str:
    """The end of a name; that of the default number is as it was before there were others."""
    return "" if table.fallback_rows == FALLBACK_ROWS else f".{table.fallback_rows}"


def shared_tables(tables: Iterable[Table]) -> dict[str, Table]:
    """The multiplexed rows of a store as tables, by group, initialised with the scale of the group's first table."""
    groups: dict[str, Table] = {}
    for table in tables:
        if table.multiplexed:
            name, scale = f"{PREFIX}{table.dim}{_number(table)}", table.init_scale
            rows = Table(name, table.dim, table.fallback_rows, table.optimizer, init_scale=scale)
            groups.setdefault(group_of(table), rows)
    return groups


def fallbacks(tables: Iterable[Table], seed: int) -> dict[str, Fallback]:
    """What a reader of deltas needs to find the multiplexed row of an id, by table; ids of others read zeros."""
    return {
        table.name: Fallback(group_of(table), int(salt_of(seed, table.name)), table.fallback_rows)
        for table in tables
        if table.multiplexed
    }


def every_slot(rows: Table) -> Ids:
    """The numbers of all multiplexed rows of one of the `shared_tables`, as ids of a table."""
    return np.arange(rows.capacity, dtype=np.uint64)
