"""The loop as it is now: server, trainers, models, and their last minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.api.monitoring.all_processes import SILENT as NO_ANSWER
from serving.api.monitoring.all_processes import AllProcesses, States, answering, degraded
from serving.api.monitoring.server_state import LatestStatus, ServerState
from serving.console.champions import PromotionEntry, champions
from serving.console.figures import Figure, FigureTable, figure
from serving.console.outcome_words import LOSSES, OUTCOMES
from serving.console.readable import count, fraction, moment, span
from serving.console.rendering import HEADERS, Renderer
from serving.console.sampler import EVERY, Sampler

SILENT: Final = 30.0
"""Seconds after which a trainer that says nothing has ended, or cannot reach Redis."""
PLOTS: Final = (
    ("rate", "Rows learned a second", "Over about the last ten seconds."),
    ("lag", "Lag", "Events in the log that the trainer has not read."),
    ("log_loss", "Log loss", "Of recent rows, scored before they were learned; less is better."),
    ("calibration", "Calibration", "Mean score over the share of positives; 1 is right."),
    ("live", "Live ids", "Over all embedding tables."),
    ("degraded", "Degraded answers", "New ones by reason, in each two seconds."),
)
"""Names, titles and definitions of what is drawn over time."""
_TASK: Final = ("auc", "log_loss", "calibration", "normalised_entropy")


@dataclass(frozen=True, slots=True)
class TrainerView:
    """What is shown of one model's trainer."""

    model: str
    warnings: Sequence[str]
    figures: Sequence[Figure]
    tables: Sequence[FigureTable]


class LivePage:
    """`champion` names the model that ranks where an arm names none, `promotions` are the last ones that made it so."""

    def __init__(
        self,
        render: Renderer,
        state: ServerState,
        processes: AllProcesses,
        sampler: Sampler,
        champion: Callable[[], str],
        promotions: Callable[[], Sequence[PromotionEntry]],
    ) -> None:
        self._render, self._state, self._processes, self._sampler = render, state, processes, sampler
        self._champion, self._promotions = champion, promotions

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return self._render.page("live.html", ".", plots=PLOTS, every=EVERY, **await self._content())

    async def part(self, request: Request) -> Response:  # noqa: ARG002
        """What is shown anew every two seconds."""
        return self._render.page("live_part.html", **await self._content())

    async def plots(self, request: Request) -> Response:  # noqa: ARG002
        """The lines of each plot, by its name."""
        series = self._sampler.loop
        lines: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in PLOTS}
        for key, values in sorted(series.values.items()):
            name, _, of = key.partition(":")
            name, _, task = name.partition(".")
            if name in lines:
                lines[name].append({"name": f"{of}, {task}" if task else of, "values": values})
        return JSONResponse({"times": [time / 1000 for time in series.times], "plots": lines}, headers=HEADERS)

    async def _content(self) -> dict[str, Any]:
        states = await self._processes.states()
        return {
            "server": list(_server(states)),
            "processes": _processes(states) if len(states) > 1 else None,
            "missing": {model: why for one in answering(states) for model, why in one.missing.items()},
            "trainers": [self._trainer(*one) for one in self._state.aged_trainers()],
            "models": self._models(),
            "promotions": champions(self._promotions()),
            "degraded": FigureTable.of(
                "Degraded answers by reason",
                ("reason", "count"),
                [(reason, count(total)) for reason, total in sorted(degraded(states).items())],
            ),
        }

    def _trainer(self, model: str, latest: LatestStatus, age: float) -> TrainerView:
        status = latest.status
        warnings = [f"{latest.not_served}."] if latest.not_served else []
        for field, rows in status.get("left_out", {}).items():
            warnings.append(f"{count(rows)} rows were not learned, because field {field} made them infinite.")
        tasks = [
            (task, *(fraction(values.get(name)) for name in _TASK)) for task, values in status.get("tasks", {}).items()
        ]
        tables = [
            FigureTable.of("Recent rows, scored before they were learned", ("task", *_TASK), tasks),
            FigureTable.of("What became of events", ("outcome", "events", "meaning"), list(_outcomes(status))),
        ]
        return TrainerView(model, warnings, list(self._progress(model, status, age)), tables)

    def _progress(self, model: str, status: Mapping[str, Any], age: float) -> Iterator[Figure]:
        now, rate = self._state.now(), self._sampler.rate(model)
        yield figure("said", span(max(age, 0.0)), warning=age > SILENT)
        yield figure("rate", "-" if rate is None else f"{count(rate)} /s")
        yield figure("lag", count(status.get("lag_events", 0)))
        newest = status.get("event_time", 0)
        yield figure("freshness", span(max(now - newest, 0) / 1000) if newest else "-")
        checkpoint = status.get("checkpoint", {})
        written = checkpoint.get("written")
        none = "none yet" if checkpoint.get("step", -1) < 0 else "before this start"
        yield figure("checkpoint", none if written is None else span(max(now - written, 0) / 1000))
        yield figure("rows", count(status.get("rows", 0)))
        yield figure("mean_rate", f"{count(status.get('events_per_second', 0))} /s")
        yield figure("step", count(status.get("step", 0)))
        served = "served" if status.get("serves") else "not served"
        yield figure("serving_run", f"{status.get('run', '-')}, {served}", warning=not status.get("serves"))

    def _models(self) -> FigureTable:
        rows = []
        for name, model in sorted(self._state.models.loaded.items()):
            looked = model.rows.hits + model.rows.misses
            rows.append(
                (
                    name,
                    "champion" if name == self._champion() else "-",
                    model.artefact.version,
                    count(model.artefact.step),
                    span(self._state.clock() - model.loaded),
                    moment(model.artefact.time) if model.artefact.time else "-",
                    f"{'float32' if model.precision is None else model.precision.used}, {model.engine}",
                    count(len(model.rows)),
                    f"{100 * model.rows.hits / looked:.1f} %" if looked else "-",
                )
            )
        keys = ("model", "role", "version", "model_step", "model_age", "trained_to", "scored_in", "cached", "hits")
        return FigureTable.of("Models and versions", keys, rows)


def _server(states: States) -> Iterator[Figure]:
    """Of all processes that answer: sums, and whether it holds of each."""
    found = answering(states)
    ready, redis = not any(one.missing for one in found), all(one.redis for one in found)
    yield figure("ready", "ready" if ready else "not ready", warning=not ready)
    if len(states) > 1:
        yield figure("processes", f"{len(found)} of {len(states)}", warning=len(found) < len(states))
    yield figure("redis", "answers" if redis else "away", warning=not redis)
    yield figure("answers", count(sum(one.answers for one in found)))
    bad, refused = sum(degraded(states).values()), sum(one.refused for one in found)
    yield figure("degraded", count(bad), warning=bad > 0)
    yield figure("overload", count(refused), warning=refused > 0)
    yield figure("queue", count(sum(one.queue for one in found)))
    yield figure("log_waiting", count(sum(one.log_waiting for one in found)))
    yield figure("connections", count(sum(one.connections for one in found)))


def _processes(states: States) -> FigureTable:
    rows = []
    for number, one in states.items():
        if one is None:
            rows.append((str(number), NO_ANSWER, *["-"] * 7))
            continue
        counts = one.answers, sum(one.degraded.values()), one.refused, one.queue, one.log_waiting, one.connections
        versions = ", ".join(f"{model} {version}" for model, version in one.versions.items())
        rows.append((str(number), one.readiness, *map(count, counts), versions or "-"))
    keys = ("process", "process_ready", "answers", "degraded", "overload", "queue", "log_waiting", "connections")
    return FigureTable.of("Server processes", (*keys, "versions"), rows)


def _outcomes(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The events by what became of them, without those of which there are none."""
    for group, meanings in (("outcomes", OUTCOMES), ("losses", LOSSES)):
        for name, number in status.get(group, {}).items():
            if number:
                yield name.replace("_", " "), count(number), meanings.get(name, f"see docs/operations.md, {group}")
