"""Names and values of data that look like markup are printed as they are, by every command."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

import recsys.commands
from recsys import wiring
from recsys.cli import main

ODD = "[/x]"
CONFIG = """
[features]
dim = 4
[model]
name = "fm"
[training]
batch_size = 8
wait = "1s"
lateness = "0s"
positive = ["click", "like [/x]"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, whose name is odd as well."""
    made = tmp_path / "data [" / "x]"
    made.mkdir(parents=True)
    monkeypatch.chdir(made)
    return made


def printed(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == code, result.output
    return result.output


def test_inspect_and_init_print_columns_and_values(folder: Path) -> None:
    rng = random.Random(1)
    rows = [f"{1_700_000_000 + 40 * i},u{i % 9},{ODD}{rng.randrange(9)},{rng.random()},{i % 2}" for i in range(200)]
    (folder / "shown[x].csv").write_text("\n".join(["time,user,item,price [/kg],click", *rows]) + "\n")
    said = printed("inspect", "shown[x].csv")
    assert "price [/kg]" in said
    assert ODD in said
    assert "Wrote recsys.toml" in printed("init", "--from", "shown[x].csv")


def test_ingest_and_train_print_reasons_names_and_tables(folder: Path) -> None:
    (folder / "recsys.toml").write_text(CONFIG)
    events = []
    for i in range(10):
        items = [f"{ODD}{i}.{place}" for place in range(8)]
        events.append({"type": "impression", "id": f"{ODD}{i}", "time": 10_000 * i, "user": ODD, "items": items})
        events.append({"type": "interaction", "time": 10_000 * i, "impression": f"{ODD}{i}", "item": items[0]})
    events.append(events[0] | {"user": "other"})
    events.append({"type": "impression", "id": "a", "time": 1, "user": "u", "items": [ODD, ODD]})
    (folder / "in[x].jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")
    said = printed("ingest", "in[x].jsonl")
    assert f"duplicate item '{ODD}'" in said
    assert "time_unit in [[log.mapping]]" in said
    said = printed("train", "--once", "--no-publish")
    assert "'like [/x]'" in said
    assert "Embedding tables" in said


class _Publisher:
    def freeze(self, name: str, progress: Callable[[int], None]) -> int:
        progress(7)
        return 7


def test_freeze_prints_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "recsys.toml").touch()
    monkeypatch.setattr(wiring, "publisher", lambda config, source: nullcontext((_Publisher(), None)))
    said = printed("freeze", "--source", "online [/y]", "frozen [/x]")
    assert "Copied model 'online [/y]' to 'frozen [/x]': 7 rows." in " ".join(said.split())


def test_there_is_one_way_to_a_terminal() -> None:
    (folder,) = map(Path, recsys.commands.__path__)
    found = {
        path.name
        for path in folder.rglob("*.py")
        if " Console(" in path.read_text() or "TextColumn(" in path.read_text()
    }
    assert found == {"terminal.py"}
