"""Which tests run in one process of several: those of a file, and of a folder that shares what is dear to start."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

FOLDERS = (
    "tests/streaming/log/kafka/",  # a broker
    "tests/embedding/torchrec/",  # the process that tests.forking loads
    "tests/recsys/recommender/",  # a model that has learned
    "tests/recsys/commands/promotion/",  # two of them
)


def unit(nodeid: str) -> str:
    """What the test runs together with: its file, or its folder if that is one of `FOLDERS`."""
    return next(filter(nodeid.startswith, FOLDERS), nodeid.split("::", 1)[0])


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)
