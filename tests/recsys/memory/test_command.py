"""`recsys memory` from the configuration file to plot and table."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recsys.cli import main
from recsys.memory import result as results
from streaming.codec import encode_events
from streaming.file_log import FileLog
from tests.recsys.replay.test_command import CONFIG
from tests.recsys.replay.worlds import moving_taste


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recsys.toml").write_text(CONFIG)
    log = FileLog(tmp_path / "log")
    log.append(encode_events(moving_taste(hours=5)))
    log.close()
    return tmp_path


def memory(folder: Path, *arguments: str) -> Result:
    out = ("--out", str(folder / "out"))
    return CliRunner().invoke(main, ["memory", "-c", str(folder / "recsys.toml"), *arguments, *out])


def test_it_writes_plot_and_table(folder: Path) -> None:
    arguments = ("--try", "user.capacity=1/2", "--try", "item.ttl=1h", "--seeds", "1", "--model", "fm")
    shown = memory(folder, "--batch-until", "0.5", *arguments)
    assert shown.exit_code == 0, shown.output
    assert "user.capacity=1/2" in shown.output
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "auc_against_memory.svg",
        "result.json",
        "table.md",
    ]
    found = results.Result.from_json((folder / "out" / "result.json").read_bytes())
    assert [point.name for point in found.points] == ["unbounded", "user.capacity=1/2", "item.ttl=1h"]
    assert found.config["model"]["name"] == "fm"
    assert str(folder) not in (folder / "out" / "result.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch-until", "0.5", "--try", "user=1/2"), "--try: 'user=1/2' is not TABLE.KEY=VALUE"),
        (("--batch-until", "1.5"), "--batch-until: a share is between 0 and 1"),
        (("--batch-until", "0.5", "--sync", "often"), "--sync: 'often' is neither an interval"),
        (("--batch-until", "2030-01-01"), "let the batch stage end between"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    shown = memory(folder, *arguments)
    assert shown.exit_code == 1
    assert message in " ".join(shown.output.split())
    assert "Traceback" not in shown.output
