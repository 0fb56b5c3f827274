"""Any sequence of operations leaves the reference and the local store equal to a plain dict, bit for bit."""

from __future__ import annotations

import pytest
from hypothesis import settings

from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from tests.embedding.machine import StoreMachine


class ReferenceMachine(StoreMachine):
    make = ReferenceStore
    others = {LocalStore: False}  # noqa: RUF012 - declared in the base class


class LocalMachine(StoreMachine):
    make = LocalStore
    others = {ReferenceStore: False}  # noqa: RUF012


TestReferenceMachine, TestLocalMachine = ReferenceMachine.TestCase, LocalMachine.TestCase
pytest.mark.slow(TestReferenceMachine)
pytest.mark.slow(TestLocalMachine)
TestReferenceMachine.settings = settings(max_examples=8, stateful_step_count=30)
TestLocalMachine.settings = settings(max_examples=16, stateful_step_count=30)
