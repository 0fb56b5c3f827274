"""`recsys check` says whether the file is valid, and which settings have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys.cli import main


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ("", []),
        ('[features.defaults]\nfallback = "multiplexed"\nadmission = "count"\nthreshold = 2\n', []),
        ('[features.defaults]\nfallback = "multiplexed"\n', ["features.defaults"]),
        ("[features.defaults]\nthreshold = 5\n", ["features.defaults"]),
        ('[features.defaults]\nthreshold = 5\nadmission = "probabilistic"\n', []),
        ("[features.tables.item]\nthreshold = 5\n", ["features.tables.item"]),
        ('[features.tables.item]\nfallback = "multiplexed"\nadmission = "count"\n', ["features.tables.item"]),
    ],
)
def test_what_would_do_nothing_is_told(tmp_path: Path, settings: str, idle: list[str]) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(settings)
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0
    said, *notes = result.output.splitlines()
    assert "is valid" in said
    assert [note.partition(":")[0] for note in notes] == idle


def test_a_fallback_that_there_is_not_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text('[features.defaults]\nfallback = "ones"\n')
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert "line 2: features.defaults.fallback: Input should be 'zeros' or 'multiplexed'" in result.output


@pytest.mark.parametrize(("named", "written"), [("new/deep/x.toml", "new/deep/x.toml"), ("", "recsys.toml")])
def test_init_makes_the_folder_and_takes_one(tmp_path: Path, named: str, written: str) -> None:
    result = CliRunner().invoke(main, ["init", str(tmp_path / named)])
    assert result.exit_code == 0
    assert CliRunner().invoke(main, ["check", "-c", str(tmp_path / written)]).exit_code == 0
    again = CliRunner().invoke(main, ["init", str(tmp_path / named)])
    assert f"{tmp_path / written} already exists" in again.output
