"""Curves as TensorBoard reads them: records of events in a file, each a scalar of a step."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from tensorboardX.proto.event_pb2 import Event

from recsys.cli import main
from recsys.training.tensorboard import EVERY, TensorBoard
from tests.recsys.fit import conftest as fit_log

Curves = dict[str, list[tuple[int, float]]]


def events(folder: Path) -> list[Event]:
    """All of a run: records of a length (u64), its checksum (u32), the event and its checksum (u32)."""
    found = []
    for file in sorted(folder.glob("events.*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def curves(folder: Path) -> Curves:
    found: Curves = {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_values_are_written_by_step_but_those_that_are_none_or_not_finite(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path)
    board.write(100, {"click/auc": 0.75, "click/log_loss": math.nan, "lag": None})
    board.write(200, {"click/auc": 0.5, "lag": 3})
    board.close()
    assert curves(tmp_path) == {"click/auc": [(100, 0.75), (200, 0.5)], "lag": [(200, 3.0)]}


def test_one_that_goes_on_hides_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    """By an event that says from which step on earlier values do not count."""
    for first in (300, 200):
        board = TensorBoard(tmp_path)
        board.write(first, {"lag": 0.0})
        board.close()
    starts = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert sorted(starts) == [200, 300]


def test_nothing_is_written_without_a_value(tmp_path: Path) -> None:
    TensorBoard(tmp_path / "run").close()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_fit_and_train_write_their_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    setting = '[training]\ntensorboard = "board"\n'
    text = fit_log.CONFIG.replace("[training]\n", setting).replace("= 64", "= 4")
    for command in (["fit"], ["train", "--once", "--no-publish"]):
        settings = text.replace("[training]\n", f'[training]\ncheckpoints = "{command[0]}"\n')
        (tmp_path / "recsys.toml").write_text(settings)
        if command == ["fit"]:
            fit_log.append(tmp_path / "recsys.toml", 0, fit_log.LISTS)
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    fitted = curves(tmp_path / "board" / "fit")
    assert [step for step, _ in fitted["training/log_loss_in_epoch"]][:2] == [EVERY, 2 * EVERY]
    losses = [loss for _, loss in fitted["training/log_loss"]]
    assert losses[-1] < losses[0]
    assert 0.5 < fitted["validation_click/auc"][-1][1] <= 1
    online = curves(tmp_path / "board" / "online")
    assert {"click/auc", "click/log_loss", "lag", "rows_per_second"} <= online.keys()
