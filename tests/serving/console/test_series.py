"""Figures over time, in bounded memory."""

from __future__ import annotations

from serving.console.series import Series


def test_a_window_keeps_the_latest() -> None:
    series = Series(most=3)
    for time in range(10):
        series.add(time, {"lag": float(time)})
    assert (series.times, series.values) == ([7, 8, 9], {"lag": [7.0, 8.0, 9.0]})


def test_names_may_come_and_go() -> None:
    series = Series(most=2)
    series.add(1, {"a": 1.0})
    series.add(2, {"b": 2.0})
    assert series.values == {"a": [1.0, None], "b": [None, 2.0]}
    series.add(3, {"b": 3.0})
    assert series.values == {"b": [2.0, 3.0]}


def test_thinning_reaches_back_to_the_start() -> None:
    """After 10,000 samples at most 100 are left, evenly spread from the first to near the last."""
    series = Series(most=100, thins=True)
    for time in range(10_000):
        series.add(time, {"x": float(time)})
        assert len(series.times) <= 100
    steps = {after - before for before, after in zip(series.times, series.times[1:], strict=False)}
    assert steps == {128}
    assert series.times[0] == 0
    assert series.times[-1] >= 10_000 - 128
    assert series.values["x"] == [float(time) for time in series.times]
