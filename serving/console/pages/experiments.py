"""What experiments show: by the counters of servers, by the log, and over time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.api.messages.operator_schemas import ExperimentsResponse
from serving.console.figures import Figure, FigureTable, figure
from serving.console.readable import count, fraction, moment, with_interval
from serving.console.rendering import HEADERS, Renderer
from serving.console.sampler import Sampler
from serving.experiments.log_summary import LogSummary
from serving.experiments.summary import ExperimentSummary


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """One experiment, by counters or by the log."""

    name: str
    broken: bool
    figures: list[Figure]
    tables: list[FigureTable]
    notes: list[str]
    plots: list[tuple[str, str]]
    """Names and titles."""


class ExperimentsPage:
    """`results` gives what `/v1/experiments` answers."""

    def __init__(
        self, render: Renderer, results: Callable[[], Awaitable[ExperimentsResponse]], sampler: Sampler
    ) -> None:
        self._render, self._results, self._sampler = render, results, sampler

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        found = await self._results()
        judged = found.judged
        return self._render.page(
            "experiments.html",
            "experiments",
            redis_away=bool(found.degraded),
            counted=[_counted(one) for one in found.experiments],
            judged=[_judged(one) for one in judged.experiments] if judged else [],
            judged_at=moment(judged.at) if judged else "",
        )

    async def plots(self, request: Request) -> Response:  # noqa: ARG002
        """Of each comparison the difference with both bounds, by its name."""
        series = self._sampler.experiments
        lines: dict[str, list[dict[str, Any]]] = {}
        for bound in ("difference", "low", "high"):
            for key, values in series.values.items():
                kind, _, name = key.partition(":")
                if kind == bound:
                    lines.setdefault(name, []).append({"name": bound, "values": values})
        return JSONResponse({"times": [time / 1000 for time in series.times], "plots": lines}, headers=HEADERS)


def _counted(one: ExperimentSummary) -> ExperimentView:
    plots = [
        (f"{one.name}:{compared.arm}", f"{compared.arm} against {compared.control}") for compared in one.comparisons
    ]
    return ExperimentView(one.name, not one.sample_ratio_ok, list(_figures(one, "since")), [_arms(one)], [], plots)


def _judged(one: LogSummary) -> ExperimentView:
    tables = [_arms(one.summary), *_adjusted(one), *_goals(one), *_guardrails(one)]
    notes = []
    if one.exposed_to_several:
        notes.append(f"{count(one.exposed_to_several)} users were shown more than one arm, and are left out.")
    if one.unknown_arms:
        notes.append(f"{count(one.unknown_arms)} impressions are of arms that the configuration does not have.")
    summary = one.summary
    return ExperimentView(
        summary.name, not summary.sample_ratio_ok, list(_figures(summary, "log_since")), tables, notes, []
    )


def _figures(one: ExperimentSummary, since: str) -> Iterator[Figure]:
    yield figure(since, moment(one.since) if one.since is not None else "nothing counted yet")
    yield figure("sample_ratio", fraction(one.sample_ratio_p), warning=not one.sample_ratio_ok)
    yield figure("confidence", f"{100 * one.confidence:.3g} %")


def _arms(one: ExperimentSummary) -> FigureTable:
    compared = {comparison.arm: comparison for comparison in one.comparisons}
    rows = []
    for arm in one.arms:
        against = compared.get(arm.name)
        difference = with_interval(against.difference, against.interval, "+") if against else "-"
        counts = count(arm.users), count(arm.impressions), count(arm.clicks), with_interval(arm.ctr, arm.interval)
        rows.append((arm.name, arm.model, *counts, difference, against.verdict if against else "control"))
    keys = ("arm", "model", "users", "impressions", "clicks", "ctr", "difference", "verdict")
    return FigureTable.of("Arms", keys, rows)


def _adjusted(one: LogSummary) -> Iterator[FigureTable]:
    rows = [
        (a.arm, with_interval(a.difference, a.interval, "+"), a.verdict, f"{100 * a.variance_left:.0f} %")
        for a in one.adjusted
    ]
    if rows:
        yield FigureTable.of("Adjusted by the time before", ("arm", "adjusted", "verdict", "left"), rows)


def _goals(one: LogSummary) -> Iterator[FigureTable]:
    rows = []
    for goal in one.goals:
        compared = {comparison.arm: comparison for comparison in goal.comparisons}
        for arm in goal.arms:
            against = compared.get(arm.arm)
            difference = with_interval(against.difference, against.interval, "+") if against else "-"
            verdict = against.verdict if against else "control"
            rows.append(
                (goal.name, arm.arm, count(arm.users), with_interval(arm.mean, arm.interval), difference, verdict)
            )
    if rows:
        yield FigureTable.of("Goals", ("goal", "arm", "users", "per_user", "goal_difference", "verdict"), rows)


def _guardrails(one: LogSummary) -> Iterator[FigureTable]:
    rows = []
    for rail in one.guardrails:
        compared = {comparison.arm: comparison for comparison in rail.comparisons}
        for arm in rail.arms:
            against = compared.get(arm.arm)
            figures = (
                (fraction(against.difference, "+"), fraction(against.harm, "+"), against.verdict) if against else ()
            )
            rows.append((rail.name, arm.arm, fraction(arm.figure), *(figures or ("-", "-", "control"))))
    if rows:
        yield FigureTable.of(
            "Guardrails", ("guardrail", "arm", "figure", "rail_difference", "harm", "rail_verdict"), rows
        )
