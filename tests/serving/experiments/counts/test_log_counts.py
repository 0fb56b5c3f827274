"""Counts of an experiment from the log: those that servers counted, whatever happened to servers and Redis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.assignment import Arm, Experiment
from serving.experiments.counts.counters import ExperimentCounters
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.log_summary import log_summary
from serving.replication.connection.redis_client import RedisClient
from streaming.events.schema import Erasure, Event, Impression, Interaction
from streaming.ingest.codec import encode_events

AB = Experiment("ab", (Arm("control", "frozen"), Arm("treatment", "online")))
DAY = 86_400_000
START = 20 * DAY


def shown(name: str, user: str, arm: str, time: int = START, experiment: str = "ab") -> Impression:
    return Impression(id=name, time=time, user=user, items=["x", "y"], experiment=experiment, arm=arm)


def click(impression: str, time: int = START + 1, item: str = "x", action: str = "click") -> Interaction:
    return Interaction(time=time, impression=impression, item=item, action=action)


def counted(*events: Event, since: int = START, attribution: int = 1000) -> LogCounts:
    counts = LogCounts(AB, since, since - 10 * DAY, attribution=attribution)
    counts.begin_partition()
    counts.count(encode_events(list(events)))
    return counts


def figures(counts: LogCounts) -> dict[str, list[tuple[int, ...]]]:
    return {
        name: sorted(zip(*(getattr(one, column).tolist() for column in one.__slots__), strict=True))
        for name, one in counts.arms().items()
    }


def test_an_impression_counts_once_as_clicked_or_not() -> None:
    counts = counted(
        shown("a", "u", "control"), shown("b", "u", "control"), click("a"), click("a"), click("a", item="y")
    )
    assert figures(counts) == {"control": [(2, 1, 0, 0)], "treatment": []}


def test_a_user_who_was_erased_does_not_count_and_counts_anew_after_coming_back() -> None:
    events: list[Event] = [shown("a", "u", "control"), click("a"), shown("o", "v", "control"), Erasure(START, "u")]
    late: list[Event] = [click("a", item="y"), click("o")]
    assert figures(counted(*events, *late)) == {"control": [(1, 1, 0, 0)], "treatment": []}
    back: list[Event] = [shown("b", "u", "treatment"), click("b")]
    counts = counted(*events, *late, *back)
    assert figures(counts) == {"control": [(1, 1, 0, 0)], "treatment": [(1, 1, 0, 0)]}
    assert counts.exposed_to_several == 0


def test_what_does_not_count() -> None:
    counts = counted(
        shown("a", "u", "treatment"),
        click("a", item="z"),
        click("a", action="view"),
        click("a", time=START + 1001),
        click("unknown"),
        shown("a", "u", "treatment"),
        shown("o", "u", "control", experiment="other"),
        shown("d", "u", "deleted"),
    )
    assert figures(counts) == {"control": [], "treatment": [(1, 0, 0, 0)]}
    assert counts.unknown_arms == 1


def test_a_click_may_come_before_its_impression() -> None:
    assert figures(counted(click("a", START - 1), shown("a", "u", "control")))["control"] == [(1, 1, 0, 0)]
    assert figures(counted(click("a", START - 60_001), shown("a", "u", "control")))["control"] == [(1, 0, 0, 0)]


def test_impressions_of_the_time_before_are_counted_apart_whatever_arm_they_had() -> None:
    before: list[Event] = [
        shown("b", "u", "treatment", START - DAY),
        click("b", START - DAY + 5),
        shown("c", "u", "", START - DAY),
    ]
    old = shown("o", "u", "control", START - 11 * DAY)
    counts = counted(old, *before, shown("a", "u", "control"))
    assert figures(counts) == {"control": [(1, 0, 2, 1)], "treatment": []}


def test_the_time_before_begins_and_ends_at_its_moments() -> None:
    times = (START - 10 * DAY - 1, START - 10 * DAY, START - 1, START)
    counts = counted(*(shown(f"i{time}", "u", "control", time) for time in times))
    assert figures(counts)["control"] == [(1, 0, 2, 0)]


def test_a_user_who_saw_both_arms_is_left_out_and_counted() -> None:
    counts = counted(shown("a", "u", "control"), shown("b", "u", "treatment"), shown("c", "v", "control"))
    assert figures(counts) == {"control": [(1, 0, 0, 0)], "treatment": []}
    assert log_summary(AB, counts, START, START).exposed_to_several == 1


def test_nothing_counts_after_the_end_but_clicks_on_what_was_shown_before_it() -> None:
    counts = LogCounts(replace(AB, end=START + 10), START, START, attribution=1000)
    shows = [shown("a", "u", "control", START + 9), shown("b", "u", "control", START + 10)]
    counts.count(encode_events([*shows, click("a", START + 11), click("b", START + 11)]))
    assert figures(counts)["control"] == [(1, 1, 0, 0)]


def test_what_can_no_longer_be_clicked_is_forgotten() -> None:
    counts = counted(shown("a", "u", "control"))
    for name, time in (("b", 100_000), ("c", 161_000)):
        counts.count(encode_events([shown(name, "v", "control", START + time), click("early", START + time)]))
    assert list(counts._open) == ["b", "c"], "both batches are later than any click on a"
    counts.count(encode_events([shown("d", "v", "control", START + 161_001)]))
    assert list(counts._open) == ["b", "c", "d"], "a click within 1 s after b may still come a minute late"
    for name in ("e", "f"):
        counts.count(encode_events([shown(name, "v", "control", START + 300_000)]))
    assert list(counts._open) == ["e", "f"]
    assert not counts._early


def test_events_of_a_clock_that_is_ahead_make_nothing_forgotten() -> None:
    counts = counted(shown("a", "u", "control"), shown("early", "w", "control", START + 10 * DAY))
    counts.count(encode_events([shown("ahead", "v", "control", START + 10 * DAY)]))
    counts.count(encode_events([click("a"), click("ahead", START + 10 * DAY)]))
    assert figures(counts)["control"] == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 1, 0, 0)]
    for time in (100_000, 200_000):
        counts.count(encode_events([shown(f"t{time}", "u", "control", START + time)]))
    assert "a" not in counts._open, "its time has come after the clock was right again"


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda n: shown(f"i{n}", f"u{n % 3}", AB.arm(f"u{n % 3}").name), st.integers(0, 9)),
        st.builds(lambda n, item: click(f"i{n}", item=item), st.integers(0, 9), st.sampled_from(["x", "y", "z"])),
    ),
    max_size=40,
)


def test_the_log_has_the_counts_of_the_servers(client: RedisClient) -> None:
    @given(EVENTS)
    def the_same(events: list[Event]) -> None:
        client.flushall()
        counters = ExperimentCounters(client, [AB])
        for event in events:
            counters.count(encode_events([event]))
        found = log_summary(AB, counted(*events), START, START)
        live = counters.summary(AB)
        assert [(one.impressions, one.clicks, one.users) for one in found.summary.arms] == [
            (one.impressions, one.clicks, one.users) for one in live.arms
        ]

    the_same()
