"""`recsys experiments`: what the configured experiments show, by the event log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import pyarrow.compute as pc
import redis
from rich.box import SIMPLE_HEAD
from rich.table import Table

from recsys import wiring
from recsys.commands.options.iso_time import parse_time, written_time
from recsys.commands.output.terminal import plain_console, say
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.config.units import milliseconds
from recsys.errors import InvalidValueError, RedisServerError
from serving.experiments.assignment import Experiment
from serving.experiments.counts.judged_experiments import JudgedExperiments, publish_judged
from serving.experiments.counts.log_counts import LogCounts
from serving.experiments.goal_summary import GoalSummary
from serving.experiments.inference.intervals import Interval
from serving.experiments.log_summary import LogSummary, log_summary
from streaming.log.event_log import EventLog, read_partitions

_WITHOUT = {"latency": "their impressions in the log have no `latency`, which those that this server answers have"}
_GROUPED = "it needs more users"


def run(path: Path, *, since: str | None, before: str, as_json: bool, publish: bool = False) -> None:
    """Print a table for each experiment; the options as the command has them."""
    config = load(path)
    if not config.experiments:
        raise InvalidValueError(
            f"{path} has no [[experiments]]: all users get the champion. Add one with two arms (docs/experiments.md)"
        )
    start = None if since is None else parse_time(since, "--since")
    earlier = milliseconds(before)
    log = wiring.event_log(config)
    every = [section.to_experiment() for section in config.experiments]
    starts = _begins(log, every) if start is None else dict.fromkeys((one.name for one in every), start)
    missing = [f"the log has no impression of experiment {one.name!r} yet" for one in every if one.name not in starts]
    if not starts:
        raise InvalidValueError("; ".join(missing))
    found = judged(config, log, {one: starts[one.name] for one in every if one.name in starts}, earlier)
    if publish:
        _publish(config, found)
    if as_json:
        plain_console().out(msgspec.json.encode(found).decode(), highlight=False)
    else:
        _show(found, missing)


def _show(found: Sequence[LogSummary], missing: Sequence[str]) -> None:
    console = plain_console()
    for one in found:
        console.print(table(one))
        if one.goals:
            console.print(goal_table(one))
        if one.guardrails:
            console.print(guardrail_table(one))
        for note in notes(one):
            say(console, note, style="yellow")
    for note in missing:
        say(console, f"{note[0].upper()}{note[1:]}.", style="yellow")


def _publish(config: Config, found: list[LogSummary]) -> None:
    """Raises RedisServerError if no Redis answers: it runs while a server does, which shows this."""
    try:
        with wiring.redis_client(config, timeout=2.0) as client:
            publish_judged(client, JudgedExperiments(time.time_ns() // 1_000_000, found))
    except redis.RedisError as error:
        where = "the Redis of [redis] url does not answer" if config.redis.url else "no Redis runs"
        raise RedisServerError(f"--publish: {where}: {error}. Start `recsys serve`, or leave it out") from error


def judged(config: Config, log: EventLog, starts: Mapping[Experiment, int], earlier: int) -> list[LogSummary]:
    """By the log, read once; each experiment since its start (event time, ms)."""
    actions, attribution = frozenset(config.training.positive), config.serving.attribution
    befores = {one: max(since - earlier, 0) for one, since in starts.items()}
    goals = {section.name: wiring.goals(config, section) for section in config.experiments}
    rails = {section.name: [one.to_guardrail() for one in section.guardrails] for section in config.experiments}
    counting = {
        one: LogCounts(one, since, befores[one], actions, attribution, goals[one.name], watch=bool(rails[one.name]))
        for one, since in starts.items()
    }
    for chunks in read_partitions(log):
        for counts in counting.values():
            counts.begin_partition()
        for chunk in chunks:
            for counts in counting.values():
                counts.count(chunk.events)
    return [
        log_summary(one, counts, starts[one], befores[one], goals[one.name], rails[one.name])
        for one, counts in counting.items()
    ]


def _begins(log: EventLog, experiments: Sequence[Experiment]) -> dict[str, int]:
    """By name, the start of each experiment that has impressions, or the time of the first one."""
    found: dict[str, int] = {}
    for chunk in chain.from_iterable(read_partitions(log)):
        for one in experiments:
            times = chunk.events.column("time").filter(pc.equal(chunk.events.column("experiment"), one.name))
            if len(times):
                found[one.name] = min(pc.min(times).as_py(), found.get(one.name, sys.maxsize))
    return {one.name: found[one.name] if one.start is None else one.start for one in experiments if one.name in found}


def table(one: LogSummary) -> Table:
    """One line per arm."""
    summary = one.summary
    until = f" until {written_time(summary.end)}" if summary.end is not None else ""
    title = f"Experiment {summary.name}, since {written_time(summary.since or 0)}{until}"
    drawn = _drawn("arm", "users", "impressions", "clicks", "click rate", "against the first", "verdict")
    drawn.title, drawn.title_justify = title, "left"
    compared = {comparison.arm: comparison for comparison in summary.comparisons}
    adjusted = {comparison.arm: comparison for comparison in one.adjusted}
    for arm in summary.arms:
        figures = [arm.name, f"{arm.users:,}", f"{arm.impressions:,}", f"{arm.clicks:,}", _rate(arm.ctr, arm.interval)]
        against = adjusted.get(arm.name) or compared.get(arm.name)
        drawn.add_row(
            *figures, *((_rate(against.difference, against.interval, "+"), against.verdict) if against else ())
        )
    return drawn


def goal_table(one: LogSummary) -> Table:
    """One line for each goal and arm."""
    drawn = _drawn("goal", "arm", "users", "per user", "against the first", "verdict")
    for goal in one.goals:
        compared = {comparison.arm: comparison for comparison in goal.comparisons}
        for place, arm in enumerate(goal.arms):
            against = compared.get(arm.arm)
            figures = (_rate(against.difference, against.interval, "+"), against.verdict) if against else ()
            name = "" if place else goal.name
            drawn.add_row(name, arm.arm, f"{arm.users:,}", _rate(arm.mean, arm.interval), *figures)
    return drawn


def guardrail_table(one: LogSummary) -> Table:
    """One line for each guardrail and arm."""
    drawn = _drawn("guardrail", "arm", "figure", "against the first", "worse by at least", "verdict")
    for rail in one.guardrails:
        compared = {comparison.arm: comparison for comparison in rail.comparisons}
        for place, arm in enumerate(rail.arms):
            against = compared.get(arm.arm)
            figures = (_figure(against.difference, "+"), _figure(against.harm, "+"), against.verdict) if against else ()
            drawn.add_row("" if place else rail.name, arm.arm, _figure(arm.figure), *figures)
    return drawn


def _drawn(*names: str) -> Table:
    """An empty table with these columns: numbers to the right, words to the left."""
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        words = name in ("arm", "goal", "guardrail", "verdict")
        drawn.add_column(name, justify="left" if words else "right", overflow="fold")
    return drawn


def _figure(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"


def notes(one: LogSummary) -> Iterator[str]:
    """What a reader must know of these figures."""
    if not one.summary.sample_ratio_ok:
        yield (
            "Users are not divided as the weights say: there is no verdict until that is explained. If weights have "
            "changed, give the time of the change as --since."
        )
    if one.exposed_to_several:
        yield f"{one.exposed_to_several:,} users were shown more than one arm, and are left out."
    if one.unknown_arms:
        yield f"{one.unknown_arms:,} impressions are of arms that the configuration does not have, and are left out."
    shown = {arm.name for arm in one.summary.arms if arm.impressions}
    for rail in one.guardrails:
        without = [arm.arm for arm in rail.arms if not arm.units and arm.arm in shown]
        if without:
            yield (
                f"Guardrail {rail.name!r} has no data of {' and '.join(without)}: {_WITHOUT.get(rail.name, _GROUPED)}. "
                "Until then it says nothing; delete it from `guardrails` if it never will."
            )
    yield from (sentence for goal in one.goals for sentence in _exact(goal))
    if one.adjusted:
        left = ", ".join(f"{adjusted.arm} {100 * adjusted.variance_left:.0f} %" for adjusted in one.adjusted)
        yield f"Differences are adjusted by what users did since {written_time(one.before)}; variance left: {left}."


def _exact(goal: GoalSummary) -> Iterator[str]:
    """Of a goal whose users each count once: what holds for any number of them."""
    for compared in goal.comparisons:
        if compared.exact is not None:
            yield (
                f"Goal {goal.name!r}, for any number of users and without adjustment: of those of {compared.arm!r} "
                f"{_points(*compared.exact)} came back than of those of {compared.control!r}, in percentage points."
            )


def _points(low: float, high: float) -> str:
    """Bounds of a difference of shares, in words.

    >>> _points(0.012, 0.034), _points(-0.034, -0.012), _points(-0.05, 0.023)
    ('1.2 to 3.4 more', '1.2 to 3.4 fewer', 'between 5.0 fewer and 2.3 more')
    """
    if low < 0 < high:
        return f"between {-100 * low:.1f} fewer and {100 * high:.1f} more"
    least, most = sorted((100 * abs(low), 100 * abs(high)))
    return f"{least:.1f} to {most:.1f} {'more' if low >= 0 else 'fewer'}"


def _rate(value: float | None, interval: Interval | None, sign: str = "") -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:{sign}.4f} [{interval[0]:{sign}.4f}, {interval[1]:{sign}.4f}]"
