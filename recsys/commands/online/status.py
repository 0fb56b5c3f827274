"""`recsys status`: what the trainer says of itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import redis
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recsys import wiring
from recsys.commands.output import embedding_tables
from recsys.commands.output.terminal import plain_console, say
from recsys.commands.stopping import stopping
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import RedisServerError
from recsys.unlearned import impaired, left_out, lost, sampled
from serving.replication.trainer_status import TrainerStatus, TrainerStatuses, not_served

SILENT = 30.0
"""Seconds after which a trainer that says nothing has ended, or cannot reach Redis."""
_EVERY = 1.0
_OF_ROWS = ("live", "evicted", "expired", "refused")
FIGURES = {
    "auc": "AUC",
    "log_loss": "log loss",
    "calibration": "calibration",
    "normalised_entropy": "normalised entropy",
}


def run(path: Path, *, follow: bool, as_json: bool) -> None:
    config = load(path)
    with _redis_with_data(config):
        _run(config, follow=follow, as_json=as_json)


@contextmanager
def _redis_with_data(config: Config) -> Iterator[None]:
    """The embedded Redis, which is started meanwhile where it has data and no other process uses it; so the last word
    of `recsys train --once` is known after its end.
    """
    kept = not config.redis.url and any(config.redis.folder.glob("*.rdb"))
    with wiring.running_redis(config) if kept else nullcontext():
        yield


def _run(config: Config, *, follow: bool, as_json: bool) -> None:
    console = plain_console()
    if as_json:
        latest = read(config)
        age = None if latest is None else time.time() - latest.published / 1000
        console.out(json.dumps({"age": age, "status": None if latest is None else latest.status}), highlight=False)
    elif not follow:
        console.print(shown(config, read(config)))
    else:
        with stopping() as stop, Live(shown(config, read(config)), console=console) as live:
            while not stop.wait(_EVERY):
                live.update(shown(config, read(config)))
    if follow:
        say(console, "Stopped watching; the trainer goes on.")


def read(config: Config) -> TrainerStatus | None:
    """The trainer's latest status; None if none has published. Raises RedisServerError if Redis does not answer."""
    model = config.training.publish_as
    statuses = TrainerStatuses([model])
    try:
        with wiring.redis_client(config, timeout=2.0) as client:
            statuses.refresh(client)
    except redis.RedisError as error:
        raise RedisServerError(
            f"the Redis of [redis] url does not answer: {error}"
            if config.redis.url
            else f"no Redis runs in {config.redis.folder}: nothing was published there"
        ) from error
    return statuses.by_model.get(model)


def shown(config: Config, latest: TrainerStatus | None) -> RenderableType:
    """The status as tables."""
    if latest is None:
        return Text("No trainer has published to this Redis: start `recsys train`.")
    status = latest.status
    beside = [sampled(status["negatives"])] if "negatives" in status else []
    warnings = [*impaired(status.get("losses", {})), *left_out(status.get("left_out", {}))]
    if aside := not_served(status):
        warnings.insert(0, f"{aside}.")
    return Group(
        _trainer(status, time.time() - latest.published / 1000),
        _tasks(status.get("tasks", {})),
        embedding_tables.TableCounters(status.get("tables", {})),
        *([_workers(status["workers"])] if "workers" in status else []),
        *(Text(line) for line in beside),
        Text(lost(status.get("outcomes", {}), config.log.dead_letters, 1 + len(config.tasks))),
        *(Text(line, style="yellow") for line in warnings),
    )


def _trainer(status: Mapping[str, Any], age: float) -> Table:
    drawn = Table(box=SIMPLE_HEAD, show_header=False, padding=0)
    drawn.add_column()
    drawn.add_column(overflow="fold")
    for name, value in _lines(status):
        drawn.add_row(f"{name}  ", value)
    silent = age > SILENT
    words = f"{age:,.1f} s ago" + (": the trainer has ended, or cannot reach Redis" if silent else "")
    drawn.add_row("said", Text(words, style="yellow" if silent else ""))
    return drawn


def _lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "run", f"{status.get('run', '')}, {'served' if status.get('serves') else 'not served'}"
    yield "step", f"{status.get('step', 0):,}, {status.get('rows', 0):,} rows learned"
    yield "lag", f"{status.get('lag_events', 0):,} events"
    yield "speed", f"{status.get('events_per_second', 0):,.0f} events/s, {status.get('rows_per_second', 0):,.0f} rows/s"
    if status.get("event_time"):
        yield "newest label", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(status["event_time"] / 1000))
    checkpoint = status.get("checkpoint", {})
    if checkpoint.get("step", -1) < 0:
        yield "checkpoint", "none yet"
    else:
        written = checkpoint.get("written")
        when = "before this start" if written is None else f"{time.time() - written / 1000:,.0f} s ago"
        yield "checkpoint", f"step {checkpoint['step']:,}, {when}"
    if "copy" in checkpoint:
        yield "its copy", _copy(checkpoint["copy"])


def _copy(copy: Mapping[str, Any]) -> str:
    """Of what a trainer says of the copies of its checkpoints."""
    last = "none since the start"
    if "written" in copy:
        last = f"step {copy['step']:,}, {time.time() - copy['written'] / 1000:,.0f} s ago"
    return f"{last}; the next one fails: {copy['trouble']}" if "trouble" in copy else last


def _workers(workers: Mapping[str, Mapping[str, Any]]) -> Table:
    drawn = Table(title="Workers, since they started", title_justify="left", box=SIMPLE_HEAD, padding=0)
    for name in ("worker", "process", "rows", "rows/s", "waited", *_OF_ROWS, "MiB"):
        drawn.add_column(name, justify="left" if name == "process" else "right", overflow="fold")
    for number, said in workers.items():
        of_tables = [sum(table[name] for table in said["tables"].values()) for name in (*_OF_ROWS, "bytes")]
        drawn.add_row(
            number,
            f"{said['process']} on {said['host']}",
            f"{said['rows']:,}",
            f"{said['rows_per_second']:,.0f}",
            f"{said['waiting_seconds']:,.0f} s",
            *(f"{count:,}" for count in of_tables[:-1]),
            f"{of_tables[-1] / embedding_tables.MIB:,.2f}",
        )
    return drawn


def _tasks(tasks: Mapping[str, Mapping[str, float]]) -> Table:
    drawn = Table(
        title="Recent rows, scored before they were learned", title_justify="left", box=SIMPLE_HEAD, padding=0
    )
    for name in ("task", *FIGURES.values()):
        drawn.add_column(name, justify="left" if name == "task" else "right")
    for task, figures in tasks.items():
        drawn.add_row(task, *(f"{figures[name]:.4f}" if name in figures else "-" for name in FIGURES))
    return drawn
