"""Settings of all tests.

With `CI` set, property tests try the same examples in every run and do not shrink failures: shrinking one of the
store's state machine takes five minutes. A failure prints a `@reproduce_failure` line; to shrink it, run the test
without `CI`.
"""

import os
from collections import Counter
from pathlib import Path

# Tests run in more processes than there are cores: threads only wait for each other. Before PyTorch is imported; the
# processes that tests start have it from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

from tests import collecting

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)

settings.register_profile("local", deadline=None, print_blob=True)  # tests assert behaviour, not speed
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None, phases=NO_SHRINKING)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure(config: pytest.Config) -> None:
    """What is collected, in the packages too: hooks of this file are for tests/ alone."""
    config.pluginmanager.register(collecting)


@pytest.hookimpl(trylast=True)  # of the tests that are left after -m and -k
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most slow tests first, then those with most tests: none is begun last that others would wait for."""
    tests = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], -tests[item.path]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last which tests were left out because programs are not installed, and how to get them."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(one.longrepr[2]) for one in skipped if ": install " in str(one.longrepr[2]))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} tests left out. {reason.removeprefix('Skipped: ')}", yellow=True)


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of graphs traced in this run, one for all its processes: tracing takes seconds."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "graphs"
    folder.mkdir(exist_ok=True)
    return folder
