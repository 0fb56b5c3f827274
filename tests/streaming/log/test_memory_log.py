"""The log in memory keeps the event log's contract."""

import pytest

from streaming.log.event_log import EventLog
from streaming.log.memory_log import MemoryLog
from tests.contracts.event_log import EventLogContract


class TestMemoryLog(EventLogContract):
    """All behaviour is the contract's."""

    def make(self, tmp: pytest.TempPathFactory, partitions: int) -> EventLog:
        return MemoryLog(partitions)
