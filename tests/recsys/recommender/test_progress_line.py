"""Long calls show how far they are where somebody looks, and nothing elsewhere."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from recsys import Recommender
from recsys.recommender import progress_line
from tests.recsys.recommender.conftest import config, prepared, world


@pytest.mark.slow
@pytest.mark.parametrize("shown", [True, False])
def test_in_a_terminal(
    shown: bool, tmp_path: Path, graphs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_line, "plain_console", lambda: Console(force_terminal=True))
    with Recommender(config(), folder=prepared(tmp_path, graphs), progress=shown) as made:
        made.ingest(world(100))
        made.fit()
        made.replay(0.8)
    said = capsys.readouterr().out
    for words in ("204 events read", "rows learned, 0 events unread", "scores given"):
        assert (words in said) == shown
    assert shown or not said


def test_nothing_where_nobody_looks(fresh: Recommender, capsys: pytest.CaptureFixture[str]) -> None:
    fresh.ingest(world(1))
    assert capsys.readouterr().out == ""


def test_in_a_notebook_one_output_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    twice = threading.Event()

    def update(data: Any, *, raw: bool) -> None:
        assert raw
        seen.append(data["text/plain"])
        if len(seen) > 2:
            twice.set()

    def display(data: Any, *, raw: bool, display_id: bool) -> SimpleNamespace:
        assert display_id
        update(data, raw=raw)
        return SimpleNamespace(update=update)

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(progress_line, "plain_console", lambda: Console(force_jupyter=True))
    monkeypatch.setattr(progress_line, "_EVERY", 0.001)
    with progress_line.progress_line(lambda: "so far", wanted=True):
        assert twice.wait(120)
    assert set(seen[:-1]) == {"so far"}
    assert seen[-1] == ""
    assert "progress" not in {thread.name for thread in threading.enumerate()}
