"""Settings of all tests.

With `CI` set, property tests try the same examples in every run and do not shrink failures: shrinking one of the
store's state machine takes five minutes. A failure prints a `@reproduce_failure` line; to shrink it, run the test
without `CI`.
"""

import gc
import os
from collections import Counter
from pathlib import Path
from typing import Any

# Tests run in more processes than there are cores: threads only wait for each other. Before PyTorch is imported; the
# processes that tests start have it from here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

from tests import collecting, together
from tests.graphs import GRAPHS

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)

# Tests assert behaviour, not speed. Half of Hypothesis' examples: other ones in each run, and those that failed again.
COMMON: dict[str, Any] = {"deadline": None, "print_blob": True, "max_examples": 50}
settings.register_profile("local", **COMMON)
settings.register_profile("ci", **COMMON, derandomize=True, database=None, phases=NO_SHRINKING)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_configure(config: pytest.Config) -> None:
    """What is collected, in the packages too: hooks of this file are for tests/ alone. And what runs together."""
    config.pluginmanager.register(collecting)
    config.pluginmanager.register(together)


@pytest.hookimpl(trylast=True)  # of the tests that are left after -m and -k
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders that run together first, then files with most slow tests, then those with most tests.

    None is begun last that others would wait for.
    """
    units = {item: together.unit(item.nodeid) for item in items}
    tests = Counter(units.values())
    slow = Counter(unit for item, unit in units.items() if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (units[item] not in together.FOLDERS, -slow[units[item]], -tests[units[item]]))


def pytest_collection_finish() -> None:
    """Take what all files have imported out of the collection of garbage.

    Beside those millions of objects Python looks through old garbage so rarely that what a hundred tests leave in
    cycles, such as servers with their memory, adds up to gigabytes.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say last which tests were left out because programs are not installed, and how to get them."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(one.longrepr[2]) for one in skipped if ": install " in str(one.longrepr[2]))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} tests left out. {reason.removeprefix('Skipped: ')}", yellow=True)


@pytest.fixture(scope="session")
def graphs() -> Path:
    """The folder of graphs that tests have traced, for trainers to begin with: tracing takes seconds."""
    GRAPHS.mkdir(parents=True, exist_ok=True)
    return GRAPHS
