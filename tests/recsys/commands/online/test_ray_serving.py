"""`recsys serve --ray`, in a process of its own: one that has loaded Ray before cannot keep it on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.commands.demo.ports import free_port
from recsys.config.schema import Config
from serving.replication.embedded_redis import EmbeddedRedis
from streaming.events.schema import Impression
from streaming.ingest.codec import to_events
from streaming.log.event_log import read_partitions
from tests.projects import SMALL, project
from tests.serving.waiting import ended, until
from tests.test_loop import events

SETTINGS = f"{SMALL}[training]\nbatch_size = 64\nwait = '1m'\n[serving]\ndeadline = '30s'\n"
ITEMS = ["i0", "i1", "i2", "i3"]
REQUESTS = 40
"""That one of two replicas gets none of so many happens once in 10^12 runs."""


@dataclass
class Served:
    http: httpx.Client
    processes: list[psutil.Process]
    """Of Ray and the replicas."""

    def rankings(self) -> list[int]:
        """How many each replica has answered, by Ray's own notes."""
        replicas = [one for one in self.processes if one.cmdline()[0].startswith("ray::ServeReplica")]
        notes = {one.pid: [Path(file.path) for file in one.open_files() if "replica" in file.path] for one in replicas}
        return [sum(path.read_text().count(" POST ") for path in paths) for paths in notes.values()]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Iterator[Config]:
    config = project(tmp_path_factory.mktemp("ray"), SETTINGS, events(), graphs)
    with EmbeddedRedis(config.redis.folder), wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        yield config


@pytest.fixture(scope="module")
def served(config: Config) -> Iterator[Served]:
    folder, port = config.training.checkpoints.parent.parent, str(free_port())
    command = [sys.executable, "-m", "recsys", "serve", "-c", str(folder / "recsys.toml"), "--port", port]
    with subprocess.Popen(
        [*command, "--ray", "local", "--processes", "2"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"Serving on http://127.0.0.1:{port}, by 2 processes")
            processes = psutil.Process(process.pid).children(recursive=True)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
                yield Served(http, processes)
        finally:
            process.terminate()
            process.communicate()  # what it still says needs somebody who reads it
    assert process.returncode == 0
    until(lambda: all(ended(one.pid) for one in processes))


@pytest.mark.slow
def test_replicas_rank_and_log(served: Served, config: Config) -> None:
    shown = set()
    for number in range(REQUESTS):
        answer = served.http.post("/v1/rank", json={"user": f"u{number}", "items": ITEMS}).raise_for_status().json()
        assert (answer["degraded"], {item["item"] for item in answer["items"]}) == ([], set(ITEMS))
        shown.add(answer["impression"])
    assert sum(served.rankings()) == REQUESTS
    assert min(served.rankings()) > 0

    def logged() -> set[str]:
        with closing(wiring.event_log(config)) as log:
            found = (to_events(chunk.events) for chunks in read_partitions(log) for chunk in chunks)
            return {one.id for part in found for one in part if isinstance(one, Impression)}

    until(lambda: shown <= logged())


@pytest.mark.slow
def test_all_listen_on_loopback(served: Served) -> None:
    found = [
        one.laddr.ip for process in served.processes for one in process.net_connections() if one.status == "LISTEN"
    ]
    assert len(found) > len(served.rankings())
    assert {ip.removeprefix("::ffff:") for ip in found} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--ray", "127.0.0.1:6379"], "replicas on several machines need one Redis: set [redis] url"),
        (["--ray", "local", "--port", "0"], "with --ray the port must be set"),
    ],
)
def test_what_ray_cannot_serve_is_refused(tmp_path: Path, options: list[str], error: str) -> None:
    (tmp_path / "recsys.toml").write_text(SMALL)
    done = CliRunner().invoke(main, ["serve", "-c", str(tmp_path / "recsys.toml"), *options])
    assert done.exit_code == 1
    assert done.output.startswith(f"error: {error}")
