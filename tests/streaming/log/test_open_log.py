"""A URL names the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import InvalidValueError
from streaming.log.file_log import FileLog
from streaming.log.open_log import open_log
from tests.contracts.event_log import events, read_all


@pytest.mark.parametrize("slashes", ["", "//"])
def test_a_file_url_is_a_log_in_that_folder(tmp_path: Path, slashes: str) -> None:
    log = open_log(f"file:{slashes}{tmp_path / 'log'}", partitions=2)
    log.append(events(0, 3), 1)
    assert log.partitions == open_log(f"file:{tmp_path / 'log'}").partitions == 2
    assert read_all(FileLog(tmp_path / "log"), 1) == [0, 1, 2]


@pytest.mark.parametrize("url", ["pulsar://host:6650/events", "run/log", ""])
def test_an_unknown_scheme_is_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(InvalidValueError, match="has no known scheme: write file:PLACE"):
        open_log(url)


def test_a_file_url_needs_a_folder() -> None:
    with pytest.raises(InvalidValueError, match="names no place; write file:PLACE"):
        open_log("file:")
