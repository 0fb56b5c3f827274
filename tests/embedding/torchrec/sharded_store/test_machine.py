"""Any sequence of operations leaves the TorchRec store equal to a plain dict.

Ids, clocks and counts to the bit; rows to rounding, for FBGEMM's kernels round in an order of their own.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from embedding.local.store import LocalStore
from embedding.reference.store import ReferenceStore
from embedding.torchrec.sharded_store.store import TorchRecStore
from tests.embedding.machine import StoreMachine

pytestmark = pytest.mark.slow


class TorchRecMachine(StoreMachine):
    make = TorchRecStore
    others = {LocalStore: True, ReferenceStore: False}  # noqa: RUF012
    atol = 1e-5


TestTorchRecMachine = TorchRecMachine.TestCase
TestTorchRecMachine.settings = settings(max_examples=8, stateful_step_count=30)
