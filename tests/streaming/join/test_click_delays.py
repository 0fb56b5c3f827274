"""The estimate of delays against planted ones, and the pace of silence against the pace of clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.click_delays import BINS, ClickDelays
from streaming.join.joiner import Joiner, LabelRule

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
WAIT = 30 * MINUTE
RATE = 0.3
Times = npt.NDArray[np.int64]
RNG = np.random.default_rng(5)


def times_of(*parts: tuple[int, int, int]) -> Times:
    """`parts` are begin, end and number of lists."""
    return np.concatenate([np.sort(RNG.integers(begin, end, count)) for begin, end, count in parts])


STEADY = times_of((0, 4 * HOUR, 6000))
NIGHTLY = times_of((0, HOUR, 3000), (9 * HOUR, 10 * HOUR, 3000))
BURSTY = times_of(*((k * 20 * MINUTE, k * 20 * MINUTE + 2 * MINUTE, 600) for k in range(10)))
GROWING = times_of(*((k * 10 * MINUTE, (k + 1) * 10 * MINUTE, int(60 * 1.4**k)) for k in range(12)))
COARSE = STEADY // HOUR * HOUR
STANDING = np.zeros(6000, np.int64)


def stream(times: Times, delay: Callable[[int], Times]) -> list[Event]:
    """One item a list, clicked with probability RATE."""
    clicked, delays = RNG.random(len(times)) < RATE, delay(len(times))
    events: list[Event] = []
    for i, time in enumerate(times.tolist()):
        events.append(Impression(id=f"l{i}", time=time, user="u", items=["x"]))
        if clicked[i]:
            events.append(Interaction(time=time + int(delays[i]), impression=f"l{i}", item="x"))
    return sorted(events, key=lambda event: event.time)


def exponential(mean: int) -> Callable[[int], Times]:
    return lambda count: np.minimum(RNG.exponential(mean, count), WAIT).astype(np.int64)


@pytest.mark.slow
@pytest.mark.parametrize("times", [STEADY, NIGHTLY, BURSTY, GROWING], ids=["steady", "nightly", "bursty", "growing"])
@pytest.mark.parametrize("mean", [20 * SECOND, 4 * MINUTE])
def test_positives_and_items_are_in_proportion_at_any_moment(times: Times, mean: int) -> None:
    """In every stretch of 800 rows after the first window, whatever the traffic; three standard errors are allowed."""
    joiner = Joiner(LabelRule(), WAIT, lateness=0)
    labeled = joiner.push(encode_events(stream(times, exponential(mean))))
    rows = np.array([(e.decided, label, not e.learned) for e in labeled for label in e.labels])
    rows = rows[rows[:, 0] > times[0] + WAIT]
    assert len(rows) > 2400
    for start in range(0, len(rows) - 799, 800):
        _, positives, items = rows[start : start + 800].sum(0).tolist()
        assert positives / items == pytest.approx(RATE, abs=3 * np.sqrt(RATE * (1 - RATE) / items) + 0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "known", "within"),
    [(20 * SECOND, MINUTE, 0.1), (MINUTE, 2 * MINUTE, 0.15), (4 * MINUTE, 4 * MINUTE, 0.25)],
)
def test_in_the_first_window_the_rate_is_found_from_the_delays_known_so_far(
    mean: int, known: int, within: float
) -> None:
    rng = np.random.default_rng(11)
    times = np.sort(rng.integers(0, known, 12_000))
    delays = ClickDelays(WAIT)
    for time, delay, clicked in zip(times, rng.exponential(mean, len(times)), rng.random(len(times)), strict=True):
        delays.shown(int(time), items=1)
        if clicked < RATE and time + delay <= known:
            delays.clicked(delays.bin(int(delay)))
    for _ in range(2 * len(times)):  # until the next estimate
        delays.shown(known, items=0)
    assert delays.rate == pytest.approx(RATE, rel=within)


@pytest.mark.slow
@pytest.mark.parametrize("known", [MINUTE, 2 * MINUTE])
def test_delays_that_are_log_normal_are_guessed_as_such(known: int) -> None:
    """Few come at once, most after a minute, some after ten: as exponential ones they would make the rate twice."""
    rng = np.random.default_rng(12)
    times, waits = np.sort(rng.integers(0, known, 12_000)), rng.lognormal(np.log(MINUTE), 1, 12_000)
    delays = ClickDelays(WAIT)
    for time, delay, clicked in zip(times, waits, rng.random(len(times)), strict=True):
        delays.shown(int(time), items=1)
        if clicked < RATE and time + delay <= known:
            delays.clicked(delays.bin(int(delay)))
    delays.estimate(known)
    assert delays.rate == pytest.approx(RATE, rel=0.25)


def test_after_a_burst_silence_is_learned_in_the_pause_as_delays_become_known() -> None:
    """Clicks alone move the clock; most come after a minute and a half, so that during the burst more are expected."""
    times = times_of((0, 2 * MINUTE, 6000))
    usual, odd = RNG.normal(90 * SECOND, 15 * SECOND, len(times)), RNG.integers(0, 25 * MINUTE, len(times))
    waits = np.where(RNG.random(len(times)) < 0.9, np.abs(usual), odd).astype(np.int64)
    joiner = Joiner(LabelRule(), WAIT, lateness=0)
    labeled = joiner.push(encode_events(stream(times, lambda _: waits)))
    learned = np.array([e.decided for e in labeled if not e.learned for _ in e.labels])
    assert np.count_nonzero(learned < 8 * MINUTE) > 0.9 * len(times)


@pytest.mark.parametrize("times", [COARSE, STANDING], ids=["by the hour", "standing still"])
def test_a_clock_that_hardly_moves_gives_every_item_out_once(times: Times) -> None:
    joiner = Joiner(LabelRule(), WAIT, lateness=0)
    events = encode_events(stream(times, lambda count: np.zeros(count, np.int64)))
    labeled = [*joiner.push(events), *joiner.flush()]
    assert sum(len(e.positions) for e in labeled if not e.learned) == len(times)
    positives = sum(sum(e.labels) for e in labeled)
    assert positives == joiner.tallies["positives"]


@pytest.mark.slow
@pytest.mark.parametrize("mean", [5 * SECOND, 2 * MINUTE, 10 * MINUTE])
def test_rate_and_delays_are_found_while_traffic_grows(mean: int) -> None:
    delays = ClickDelays(WAIT)
    opened: list[tuple[int, list[int]]] = []
    waits = exponential(mean)(len(GROWING))
    clicks = sorted((int(t + d), i) for i, (t, d) in enumerate(zip(GROWING, waits, strict=True)) if RNG.random() < RATE)
    for time in GROWING.tolist():
        while clicks and clicks[0][0] <= time and clicks[0][1] < len(opened):
            when, j = clicks.pop(0)
            bin_ = delays.bin(when - int(GROWING[j]))
            delays.clicked(bin_)
            opened[j][1].append(bin_)
        delays.shown(time, items=1)
        opened.append((time, []))
    assert delays.rate == pytest.approx(RATE, abs=0.03)
    ages = np.array([delays.age(draw) for draw in np.linspace(0, 0.999, 4001)])
    shares = 1 - np.exp(-np.quantile(ages, [0.25, 0.5, 0.75]) / mean)  # F at the quartiles of A, where H = 1 - quartile
    expected = [(1 - h) / (1 - RATE * h) for h in (0.75, 0.5, 0.25)]
    np.testing.assert_allclose(shares, expected, atol=0.06)


def test_before_enough_clicks_silence_is_learned_at_once() -> None:
    joiner = Joiner(LabelRule(), WAIT, lateness=0)
    labeled = joiner.push(encode_events([Impression(id=f"l{i}", time=i, user="u", items=["x"]) for i in range(5)]))
    assert [(e.id, e.labels) for e in labeled] == [(f"l{i}", (0.0,)) for i in range(4)]


@pytest.mark.slow
def test_closed_windows_fade_when_habits_change() -> None:
    delays = ClickDelays(WAIT)
    for clock, delay in ((0, 20 * MINUTE), (HOUR, 2 * SECOND)):
        for _ in range(4_000):
            delays.shown(clock, items=100)
            delays.clicked(delays.bin(delay))
            delays.closed(100, [delays.bin(delay)])
    assert delays.age(0.5) < 10 * SECOND


def test_a_restored_estimate_goes_on_alike() -> None:
    first, second = ClickDelays(WAIT), ClickDelays(WAIT)
    for i in range(1000):
        first.shown(i * SECOND, items=3)
        first.clicked(i % BINS)
    second.restore(first.state())
    assert second.state() == first.state()
    for delays in (first, second):
        delays.closed(3, [0])
        delays.shown(2000 * SECOND, items=1)
    assert second.state() == first.state()
    assert [first.age(draw / 10) for draw in range(10)] == [second.age(draw / 10) for draw in range(10)]
