"""A search that was killed goes on from what it has kept, to the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from recsys.cli import main
from recsys.commands.offline.kept_search import search_folder
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import InvalidValueError, StateError
from recsys.fit.parts import Parts
from recsys.search.dnis import dnis_study
from recsys.search.ihas import ihas_study
from recsys.search.search_folder import SearchFolder
from tests.recsys.search.conftest import CONFIG

SHORT = """
[dnis]
blocks = 3
epochs = 3
search_epochs = 3
retrain_epochs = 2
lr = 0.03
shares = [0.25]
[ihas]
epochs = 2
groups = [1, 2]
"""
METHODS = {"dnis": dnis_study.compare, "ihas": ihas_study.compare}
KILLED = """
import os, signal
from recsys.cli import main
from recsys.commands.offline.kept_search import search_folder
from recsys.search.search_folder import SearchFolder

write = SearchFolder.write_stage
def dies(self, name, *arguments):
    write(self, name, *arguments)
    if name == "dnis search":
        os.kill(os.getpid(), signal.SIGKILL)
SearchFolder.write_stage = dies
main()
"""


class KilledError(Exception):
    """As if the process had been killed."""


class DyingFolder(SearchFolder):
    """Kills the search when so many states were written."""

    left = 0

    def write_stage(self, name: str, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        if self.left == 0:
            raise KilledError
        super().write_stage(name, tensors, values)
        self.left -= 1


@pytest.fixture
def config(path: Path, tmp_path: Path) -> Config:
    """With dropout, so that random numbers must go on too."""
    text = CONFIG.partition("[dnis]")[0].replace("mlp = []", "mlp = [8]\nmlp_dropout = 0.2\nmlp_norm = 'batch'") + SHORT
    (path.with_name("resumed.toml")).write_text(text)
    return load(path.with_name("resumed.toml"))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_search_that_is_killed_again_and_again_finds_the_same(
    method: str, config: Config, parts: Parts, tmp_path: Path
) -> None:
    compare = METHODS[method]
    whole = compare(config, parts)
    folder, kills = DyingFolder(tmp_path), 0
    while True:
        folder.left = 4
        try:
            resumed = compare(config, parts, folder=folder)
        except KilledError:
            kills += 1
        else:
            break
    assert kills > 2
    assert resumed.to_json() == whole.to_json()


@pytest.mark.slow
def test_the_command_goes_on_after_kill_9(config: Config, parts: Parts, path: Path, tmp_path: Path) -> None:
    arguments = ["search", "dnis", "-c", str(path.with_name("resumed.toml")), "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "dnis.json").exists()
    said = CliRunner().invoke(main, arguments)
    assert said.exit_code == 0, said.output
    assert f"Going on from {tmp_path / 'dnis'}" in said.output.replace("\n", "")
    assert (tmp_path / "dnis.json").read_bytes() == dnis_study.compare(config, parts).to_json()


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_says_that_the_same_command_goes_on(
    method: str, config: Config, parts: Parts, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = []

    def interrupt(*_: object) -> None:
        interrupted.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"recsys.commands.offline.{method}.compare", interrupt)
    arguments = ["search", method, "-c", str(path.with_name("resumed.toml")), "--out", str(tmp_path)]
    said = CliRunner().invoke(main, arguments)
    assert interrupted
    assert said.exit_code == 130, said.output
    assert "Run it again to go on from here." in said.output


def test_what_has_ended_is_not_computed_again_and_needs_no_states(tmp_path: Path) -> None:
    folder = SearchFolder.of(tmp_path / "dnis", {"lr": 1})
    assert not folder.has_begun
    for name in ("size 2.0", "size 2.1", "size 20.0"):
        folder.write_stage(name, {"rows": torch.ones(2)}, {"epoch": 1})
    assert folder.has_begun
    assert folder.result("size 2", int, lambda: 7) == 7
    assert folder.read_stage("size 2.0") is folder.read_stage("size 2.1") is None
    found = folder.read_stage("size 20.0")
    assert found is not None
    assert (found[0]["rows"].tolist(), found[1]) == ([1.0, 1.0], {"epoch": 1})
    assert SearchFolder.of(tmp_path / "dnis", {"lr": 1}).result("size 2", int, lambda: 8) == 7


def test_a_search_of_other_settings_is_refused(tmp_path: Path) -> None:
    SearchFolder.of(tmp_path, {"lr": 1})
    with pytest.raises(InvalidValueError, match="has a search with other settings"):
        SearchFolder.of(tmp_path, {"lr": 2})


@pytest.mark.parametrize("method", ["dnis", "ihas"])
def test_a_search_that_an_earlier_release_began_goes_on_if_new_settings_have_their_defaults(
    method: Literal["dnis", "ihas"], config: Config, parts: Parts, tmp_path: Path
) -> None:
    """The earlier release knew neither an optimizer's L2, nor a table's cold rows, nor the rate of the method."""
    path = tmp_path / method / "settings.json"
    console = Console(quiet=True)
    search_folder(config, method, parts, tmp_path, console)
    kept = json.loads(path.read_bytes())
    del kept["training"]["l2"], kept["features"]["defaults"]["cold_capacity"], kept[method]["lr"]
    path.write_text(json.dumps(kept))
    of_default_rate = getattr(Config(), method)
    config = config.model_copy(update={method: getattr(config, method).model_copy(update={"lr": of_default_rate.lr})})
    search_folder(config, method, parts, tmp_path, console)
    config = config.model_copy(update={"training": config.training.model_copy(update={"l2": 0.1})})
    with pytest.raises(InvalidValueError, match="has a search with other settings"):
        search_folder(config, method, parts, tmp_path, console)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = SearchFolder(tmp_path)
    folder.write_stage("search", {"rows": torch.ones(2)}, {"epoch": 1})
    (tmp_path / "search.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(StateError, match=r"search.safetensors is damaged, remove it"):
        folder.read_stage("search")
