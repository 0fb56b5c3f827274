"""The harness reports what it measured, in the form that machines read."""

import json
from pathlib import Path

from benchmarks.harness import Result, Target, interleave, peak_memory, ratio, saved


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    turns: list[str] = []
    seconds = interleave({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=2)
    assert turns == ["a", "b"] * 3
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


def test_ratio_compares_neighbours() -> None:
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0]) == 2.0


def test_result_says_which_targets_were_met(tmp_path: Path) -> None:
    result = Result("x", [Target("rate", 5, 4), Target("memory", 5, 4, better="lower")], {"rounds": [1]})
    assert [target["met"] for target in json.loads(result.line())["targets"]] == [True, False]
    written = json.loads(result.save(tmp_path).read_text())
    assert written["machine"]["cores"] >= 1
    assert written["raw"] == {"rounds": [1]}


def test_peak_memory_counts_what_the_program_held() -> None:
    small = peak_memory("x = 1")
    large = peak_memory("import sys; x = bytearray(int(sys.argv[1]))", str(100 << 20))
    assert large - small > 90 << 20


def test_runs_of_other_processors_stay_and_the_newest_comes_last(tmp_path: Path) -> None:
    Result("x", [], {"here": True}).save(tmp_path)
    (tmp_path / "x.other-1.json").write_text(json.dumps({"name": "x", "date": "1999-01-01", "raw": {}}))
    (tmp_path / "xy.other-1.json").write_text(json.dumps({"name": "xy", "date": "1999-01-01", "raw": {}}))
    assert [run["raw"] for run in saved(tmp_path, "x")] == [{}, {"here": True}]
