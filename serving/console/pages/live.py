"""The loop as it is now: server, trainers, models, and their last minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.api.monitoring.prometheus import Metrics
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
        metrics: Metrics,
        sampler: Sampler,
        champion: Callable[[], str],
        promotions: Callable[[], Sequence[PromotionEntry]],
    ) -> None:
        self._render, self._state, self._metrics, self._sampler = render, state, metrics, sampler
        self._champion, self._promotions = champion, promotions

    async def page(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return self._render.page("live.html", ".", plots=PLOTS, every=EVERY, **self._content())

    async def part(self, request: Request) -> Response:  # noqa: ARG002
        """What is shown anew every two seconds."""
        return self._render.page("live_part.html", **self._content())

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

    def _content(self) -> dict[str, Any]:
        readiness = self._state.readiness()
        return {
            "server": list(self._server(ready=readiness.ready)),
            "missing": readiness.missing,
            "trainers": [self._trainer(*one) for one in self._state.aged_trainers()],
            "models": self._models(),
            "promotions": champions(self._promotions()),
            "degraded": FigureTable.of(
                "Degraded answers by reason",
                ("reason", "count"),
                [(reason, count(total)) for reason, total in sorted(self._metrics.degraded().items())],
            ),
        }

    def _server(self, *, ready: bool) -> Iterator[Figure]:
        state, metrics = self._state, self._metrics
        yield figure("ready", "ready" if ready else "not ready", warning=not ready)
        yield figure("redis", "answers" if (up := state.redis_available()) else "away", warning=not up)
        yield figure("answers", count(metrics.answers("/v1/rank", "/v1/recommend")))
        degraded = sum(metrics.degraded().values())
        yield figure("degraded", count(degraded), warning=degraded > 0)
        yield figure("overload", count(state.queue.refused), warning=state.queue.refused > 0)
        yield figure("queue", count(len(state.queue)))
        yield figure("log_waiting", count(state.events.waiting))
        yield figure("connections", count(len(state.connections)))

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
                    "float32" if model.precision is None else model.precision.used,
                    count(len(model.rows)),
                    f"{100 * model.rows.hits / looked:.1f} %" if looked else "-",
                )
            )
        keys = ("model", "role", "version", "model_step", "model_age", "trained_to", "scored_in", "cached", "hits")
        return FigureTable.of("Models and versions", keys, rows)


def _outcomes(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The events by what became of them, without those of which there are none."""
    for group, meanings in (("outcomes", OUTCOMES), ("losses", LOSSES)):
        for name, number in status.get(group, {}).items():
            if number:
                yield name.replace("_", " "), count(number), meanings.get(name, f"see docs/operations.md, {group}")
