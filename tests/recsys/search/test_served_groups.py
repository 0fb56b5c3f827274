"""iHAS from the search to an arm of an experiment: the ordinary endpoint scores as the search judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result

from embedding.store import TableDelta
from recsys import wiring
from recsys.cli import main
from recsys.commands.offline.kept_search import search_folder
from recsys.commands.output.terminal import plain_console
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.fit.parts import Parts, read_parts
from recsys.search.ihas.ihas_study import IhasStudy
from recsys.search.ihas.served_groups import version
from recsys.search.ihas.served_rows import ServedRows
from serving.assembly import build
from serving.replication.embedded_redis import EmbeddedRedis
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow

CONFIG = """
[features]
dim = 8
fields = [
  { name = "user", source = "user" },
  { name = "number", source = "request.number", kind = "numeric" },
  { name = "tags", source = "request.tags", kind = "multi" },
  { name = "item", source = "item" },
]
[model]
name = "fm"
mlp = [8]
[training]
batch_size = 128
wait = "1s"
lateness = "0s"
labels = "held"
[fit]
split = "random"
validation = 0.2
test = 0.2
[ihas]
epochs = 4
groups = [2]
gates = [8]
lr = 0.02
gate_lr = 0.1
[serving]
deadline = "60s"
[[experiments]]
name = "groups"
arms = [{ name = "popular", model = "popularity" }, { name = "ihas", model = "groups" }]
"""
LISTS, ITEMS = 200, 4


def impressions() -> list[Impression]:
    """Lists, each with a number of its own."""
    draw = np.random.default_rng(5)
    return [
        Impression(
            id=f"n{number}",
            time=10_000 * number,
            user=f"u{draw.integers(12)}",
            items=[f"i{item}" for item in draw.permutation(20)[:ITEMS]],
            features={"number": number, "tags": [f"t{tag}" for tag in draw.permutation(9)[: draw.integers(4)]]},
        )
        for number in range(LISTS)
    ]


def clicks(shown: list[Impression]) -> list[Event]:
    """On items of the user's parity."""
    return [
        Interaction(time=each.time + 100, impression=each.id, item=item)
        for each in shown
        for item in each.items
        if int(item[1:]) % 2 == int(each.user[1:]) % 2
    ]


def searched(path: Path, *options: str) -> Result:
    arguments = ["search", "ihas", "-c", str(path), "--out", str(path.parent / "search"), *options]
    return CliRunner().invoke(main, arguments)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration with its log; what is published under it stays as long."""
    path = tmp_path_factory.mktemp("served") / "recsys.toml"
    path.write_text(CONFIG)
    shown = impressions()
    with closing(wiring.event_log(load(path))) as log:
        log.append(encode_events(sorted([*shown, *clicks(shown)], key=lambda event: event.time)))
    with EmbeddedRedis(load(path).redis.folder):
        yield path


def judged(config: Config, parts: Parts, out: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The calibrated scores of the test part, each by the model of its row's group."""
    study = IhasStudy.of(config, parts, search_folder(config, "ihas", parts, out, plain_console()))
    scores = np.zeros(len(parts.test))
    fitted = study.fitted(2)
    for member, one in zip(study.members(study.grouping(2)), fitted, strict=True):
        scores[member.places["test"]] = one.calibrated()
    assert min(len(one.scores) for one in fitted) > 0
    return scores


def test_an_arm_ranks_by_the_models_of_the_groups(path: Path) -> None:
    said = searched(path, "--publish", "groups", "--groups", "2")
    assert said.exit_code == 0, said.output
    assert "Published 2 groups as 'groups'" in said.output
    config, by_number = load(path), {each.features["number"]: each for each in impressions()}
    with ExitStack() as stack:
        log = stack.enter_context(closing(wiring.event_log(config)))
        parts = read_parts(config, log)
        expected = judged(config, parts, path.parent / "search")
        http = stack.enter_context(running(build(wiring.server(config), log, wiring.open_scorer(config))))
        until(lambda: http.get("/readyz").status_code == 200)
        answered = 0
        for number in np.unique(parts.test.numeric_BN[:, 0])[:30]:
            shown = by_number[int(number)]
            rows = np.flatnonzero(parts.test.numeric_BN[:, 0] == number)
            answer = ranked(http, shown)
            if answer["arm"] == "ihas":
                answered += 1
                scores = {item["item"]: item["score"] for item in answer["items"]}
                assert sorted(scores.values()) == pytest.approx(sorted(expected[rows]), abs=1e-5)
        assert answered > 5


def ranked(http: httpx.Client, shown: Impression) -> dict[str, Any]:
    asked = {"user": shown.user, "items": shown.items, "features": shown.features, "time": shown.time}
    answer = http.post("/v1/rank", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--publish", "online"), "'online' is what the trainer publishes"),
        (("--publish", "groups", "--groups", "3"), "[ihas] groups has no 3: choose one of [2]"),
    ],
)
def test_what_cannot_be_published_is_said_before_the_search(path: Path, options: tuple[str, ...], said: str) -> None:
    found = searched(path, *options)
    assert found.exit_code == 1
    assert said in found.output.replace("\n", " ")


def test_another_search_of_as_many_groups_has_another_version() -> None:
    def rows(value: float) -> ServedRows:
        values_UD = np.full((1, 2), value, np.float32)
        return ServedRows(2, {"item": TableDelta(np.array([7], np.uint64), values_UD, np.empty(0, np.uint64))}, [])

    found = [version(2, b"graph", rows(1)), version(2, b"graph", rows(2)), version(2, b"other", rows(1))]
    assert len(set(found)) == 3
    assert version(2, b"graph", rows(1)) == found[0]


def test_gates_that_keep_nothing_are_not_published(path: Path, tmp_path: Path) -> None:
    closed = tmp_path / "recsys.toml"
    closed.write_text(
        CONFIG.replace("gate_lr = 0.1", "gate_lr = 1.0\nsparsity = 100.0")
        + f'[log]\nurl = "file:{path.parent}/run/log"\n'
    )
    found = searched(closed, "--publish", "groups", "--groups", "2")
    assert found.exit_code == 1
    assert "the gates keep no coordinate of any field" in found.output.replace("\n", " ")
