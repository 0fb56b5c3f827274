"""Any sequence of operations leaves the reference and the local store equal to a plain dict, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable

import pytest
from hypothesis import settings

from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.store import Lookup, Table
from tests.embedding.machine import StoreMachine
from tests.embedding.tiers import tiered


class ReferenceMachine(StoreMachine):
    make = ReferenceStore
    others = {LocalStore: False}  # noqa: RUF012 - declared in the base class


class LocalMachine(StoreMachine):
    make = LocalStore
    others = {ReferenceStore: False}  # noqa: RUF012


def in_files(tables: Iterable[Table]) -> LocalStore:
    """A store with rows on disk, in memory that counts as a disk where there is such."""
    return LocalStore(tables, cold_folder=tempfile.gettempdir())


def make_tiered(tables: Iterable[Table]) -> LocalStore:
    return in_files(tiered(table, 0.75 if table.name == "wide" else 0.5) for table in tables)


class TieredMachine(StoreMachine):
    """The model knows nothing of rows on disk; calls are cut to the ids that memory holds."""

    make = staticmethod(make_tiered)
    local = staticmethod(in_files)
    others = {ReferenceStore: False}  # noqa: RUF012

    def _look_up(self, table: str, ids: list[int]) -> Lookup:
        return super()._look_up(table, ids[: self.store.tables[table].capacity])

    def _train(self, found: Lookup, seed: int) -> None:
        if len(set(found.ids_N.tolist())) <= self.store.tables[found.table].capacity:  # it may be less than it was
            super()._train(found, seed)


TestReferenceMachine, TestLocalMachine = ReferenceMachine.TestCase, LocalMachine.TestCase
TestTieredMachine = TieredMachine.TestCase
pytest.mark.slow(TestReferenceMachine)
pytest.mark.slow(TestLocalMachine)
pytest.mark.slow(TestTieredMachine)
TestReferenceMachine.settings = settings(max_examples=8, stateful_step_count=30)
TestLocalMachine.settings = settings(max_examples=16, stateful_step_count=30)
TestTieredMachine.settings = settings(max_examples=16, stateful_step_count=30)
