"""`recsys check` says what is right, and what is of no use."""

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
        ('[features.tables.item]\nfallback = "multiplexed"\nadmission = "count"\n', ["features.tables.item"]),
    ],
)
def test_a_fallback_that_would_learn_nothing_is_told(tmp_path: Path, settings: str, idle: list[str]) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text(settings)
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 0
    said, *notes = result.output.splitlines()
    assert "is right" in said
    assert [note.partition(":")[0] for note in notes] == idle


def test_a_fallback_that_there_is_not_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    config.write_text('[features.defaults]\nfallback = "ones"\n')
    result = CliRunner().invoke(main, ["check", "-c", str(config)])
    assert result.exit_code == 1
    assert "line 2: features.defaults.fallback: Input should be 'zeros' or 'multiplexed'" in result.output
