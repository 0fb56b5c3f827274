"""`recsys simulate`: users whose preferences are known, as event files or against a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.progress import BarColumn, Progress, TimeRemainingColumn
from rich.table import Table

from recsys.client import Client
from recsys.client.retries import Retries
from recsys.commands.options.output_folder import check_out
from recsys.commands.output.terminal import plain_column, plain_console, say
from recsys.errors import file_errors
from recsys.simulation.habits import Habits
from recsys.simulation.platform import LoggingPolicy, Platform, ServedLists
from recsys.simulation.simulation import Simulation, Truth
from recsys.simulation.user_model import DAY, PlantedUsers
from streaming.events.schema import Event

START = 1_767_225_600_000
"""2026-01-01, of what is written to files: the same log each time."""
_PATIENT = Retries(most=100, longest=60.0)
"""Users who come back when a server is busy."""


def run(users: int, items: int, days: float, habits: Habits, selection: float, seed: int, url: str, out: Path) -> None:
    """Write `truth.json` into `out`, and without a `url` the events, as `events.jsonl`."""
    check_out(out)
    model = PlantedUsers(users, items, seed=seed)
    with ExitStack() as stack, file_errors("the simulation (--out)", out):
        out.mkdir(parents=True, exist_ok=True)
        platform: Platform
        if url:
            start = time.time_ns() // 1_000_000 - round(days * DAY * 1000)
            client = stack.enter_context(Client(url, timeout=60.0, retries=_PATIENT))
            served = ServedLists(model, client)
            stack.callback(served.close)
            platform = served
        else:
            start, file = START, stack.enter_context((out / "events.jsonl").open("wb"))
            platform = LoggingPolicy(model, _writer(file.write), selection=selection, seed=seed)
        simulation = Simulation(model, habits, platform, start, seed)
        _watch(simulation, days * DAY)
        (out / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(simulation.truth), indent=1) + b"\n")
    _say(simulation.truth, url, out)


def _writer(write: Callable[[bytes], object]) -> Callable[[Event], None]:
    encode = msgspec.json.Encoder().encode

    def written(event: Event) -> None:
        write(encode(event) + b"\n")

    return written


def _watch(simulation: Simulation, seconds: float) -> None:
    columns = BarColumn(), plain_column("{task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=plain_console(), transient=True) as bar:
        task = bar.add_task("", total=seconds)
        for now in simulation.run(seconds):
            bar.update(task, completed=now, description=f"{simulation.truth.visits:,} visits")


def _say(truth: Truth, url: str, out: Path) -> None:
    console = plain_console()
    table = Table("lists", "number", "clicks a list", "expected", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, arm in sorted(truth.arms.items()):
        table.add_row(name, f"{arm.lists:,}", f"{arm.clicks / arm.lists:.3f}", f"{truth.value(name):.3f}")
    table.add_row("drawn from all items alike", "-", "-", f"{truth.random:.3f}")
    table.add_row("what each user likes most", "-", "-", f"{truth.best:.3f}")
    console.print(table)
    files = f"{out / 'truth.json'}" + ("" if url else f", {out / 'events.jsonl'}")
    say(console, f"Written: {files}." + ("" if url else f" Next: recsys init --from {out / 'events.jsonl'}"))
