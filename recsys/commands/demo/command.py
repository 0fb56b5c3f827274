"""`recsys demo`: the whole loop on a real log, in about a minute, with the processes of a real installation."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from recsys.commands.demo.movie_client import TIMEOUT, MovieClient, show_change
from recsys.commands.demo.ports import free_port
from recsys.commands.output.terminal import plain_console, say
from recsys.config.file import load
from recsys.datasets.registry import DATASETS, EXAMPLES
from recsys.errors import InvalidValueError, UnavailableError, file_errors
from serving.replication.embedded_redis import EmbeddedRedis

DATASET = "movielens-small"
SPLIT = "2014-01-01"
"""The model is trained on the log before this time; frozen and online are compared after it."""
REFRESH = ("30d", "1d")
SECOND_ROW = (
    "More rows are learned than items were shown: one that is liked after its silence was learned comes again, as a "
    "second row."
)
MARKER = ".recsys-demo"
"""A file in folders that the demo made, and may replace."""


def run(folder: Path, keep: bool, data: Path | None = None) -> None:
    """Replaces `folder`, if the demo made it. `data` holds MovieLens small, by default the copy in the source tree."""
    data = data or DATASETS[DATASET].shipped
    if data is None or not data.is_dir():
        raise InvalidValueError("the demo needs the folder `examples` of the source tree: run `make demo` in a clone")
    console = plain_console()
    started = time.monotonic()
    with file_errors("the demo's folder (--folder)", folder):
        config_path = _prepare(folder)
    with ExitStack() as stack:
        stack.enter_context(_terminable())
        stack.enter_context(EmbeddedRedis(load(config_path).redis.folder))
        _step(console, 1, "Ingest the first part of a real log: MovieLens, ratings as likes")
        _recsys("ingest", "-c", config_path, "--dataset", DATASET, data, "--to", SPLIT)
        _step(console, 2, "Learn online from it, and freeze a copy as the other arm")
        _recsys("train", "-c", config_path, "--once")
        say(console, SECOND_ROW)
        _recsys("freeze", "-c", config_path, "frozen")
        _step(console, 3, "Start server and trainer: two processes, one log, one Redis")
        port = free_port()
        live = stack.enter_context(ExitStack())
        live.enter_context(_running("serve", "-c", config_path, "--port", port, log=folder / "serve.log"))
        live.enter_context(_running("train", "-c", config_path, "--follow", log=folder / "train.log"))
        client = live.enter_context(MovieClient(f"http://127.0.0.1:{port}", data / "movies.csv"))
        client.wait_until_ready()
        _wait_for(folder / "train.log", "Resumed")
        _step(console, 4, "A new user asks for a ranking, likes a few films, and asks again")
        show_change(client, console)
        if not keep:
            live.close()  # so that their memory is free for the replay
        _step(console, 5, f"Replay the whole log: frozen against online after {SPLIT}")
        _replay(folder, config_path, data)
        _outlook(console, time.monotonic() - started)
        if keep:
            console.print(f"Still serving on http://127.0.0.1:{port}/docs, with the console at")
            console.print(f"http://127.0.0.1:{port}/console. Ctrl-C stops it.")
            with _interruptible():
                signal.pause()


def _prepare(folder: Path) -> Path:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise InvalidValueError(
            f"{folder} is not empty and not of an earlier demo, which would replace it: name another --folder, or "
            "remove it yourself"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    config_path = folder / "recsys.toml"
    example = (EXAMPLES / "movielens.toml").read_text("utf-8")
    config_path.write_text(example.replace("../run/movielens/", ""), "utf-8")  # everything in the demo's own folder
    return config_path


def _replay(folder: Path, config_path: Path, data: Path) -> None:
    """On a log of its own: the live log holds the demo's clicks, and only the first part of the data."""
    whole = folder / "replay.toml"
    live, own = 'url = "file:log"', 'url = "file:whole-log"'
    before, _, after = config_path.read_text("utf-8").partition(live)
    whole.write_text(before + own + after, "utf-8")
    _recsys("ingest", "-c", whole, "--dataset", DATASET, data, quiet=True)
    refreshes = [argument for refresh in REFRESH for argument in ("--refresh", refresh)]
    _recsys("replay", "-c", whole, "--batch-until", SPLIT, *refreshes, "--out", folder / "replay")


def _step(console: Console, number: int, title: str) -> None:
    console.print()
    console.rule(Text(f"{number}. {title}", style="bold"), align="left")


def _outlook(console: Console, seconds: float) -> None:
    console.print()
    console.rule(Text("Your own data", style="bold"), align="left")
    console.print("source .venv/bin/activate")
    console.print("recsys init --from clicks.csv     # proposes recsys.toml for your file: read its comments")
    console.print("recsys ingest clicks.csv")
    console.print("recsys train                      # and in another shell: recsys serve")
    console.print(f"\nThe demo took {seconds:.0f} s.")


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "recsys", *map(str, arguments)]


def _recsys(*arguments: object, quiet: bool = False) -> None:
    done = subprocess.run(_command(*arguments), check=False, stdout=subprocess.DEVNULL if quiet else None)
    if done.returncode:
        raise InvalidValueError(f"`recsys {' '.join(map(str, arguments))}` failed with exit status {done.returncode}")


@contextmanager
def _running(*arguments: object, log: Path) -> Iterator[None]:
    """A process that ends with the block. Ctrl-C does not reach it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(*arguments), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield
            if process.poll() is not None:
                raise InvalidValueError(f"`recsys {arguments[0]}` ended with status {process.returncode}, see {log}")
        finally:
            process.terminate()
            process.wait(timeout=TIMEOUT)


def _wait_for(file: Path, text: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while text not in file.read_text():
        if time.monotonic() > deadline:
            raise UnavailableError(f"{file} does not say {text!r} after {TIMEOUT:.0f} s")
        time.sleep(0.1)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, with the processes that it has started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        os.write(1, b"\n")
