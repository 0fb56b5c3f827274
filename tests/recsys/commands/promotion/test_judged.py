"""A challenger judged by what a real server has shown, and promoted or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from recsys import wiring
from recsys.config.file import load
from serving.assembly import build
from serving.replication.connection.redis_client import RedisClient
from serving.replication.promotions import history
from tests.recsys.commands.promotion.test_promotion import recsys
from tests.serving.api.asking import figures
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow
USERS, NEARLY_ALL = 120, 105
"""On a busy machine Redis may not answer for a tenth of a second, and a list is left out."""
SEEN = ("scored", "busy", "failed")
EXPLORING = '[serving]\nexploration = "plackett_luce"\n'


@pytest.fixture
def shadowed(folder: Path, client: RedisClient) -> Iterator[httpx.Client]:
    """A server that explores, with the challenger in the shadow."""
    file = folder / "recsys.toml"
    file.write_text(file.read_text().replace("[serving]\n", EXPLORING + 'shadow = ["wide"]\n'))
    config = load(file)
    log = wiring.event_log(config)
    settings = replace(wiring.server(config), shadow_patience=120_000)
    with running(build(settings, log, wiring.open_scorer(config))) as http:
        until(
            lambda: (
                http.get("/readyz").status_code == 200
                and 'recsys_model_step{model="wide"}' in http.get("/metrics").text
            )
        )
        yield http
    log.close()


def traffic(http: httpx.Client, clicked: str) -> None:
    """Each user is shown four items, and clicks one, where it stands first or second; the end closes all windows."""
    for n in range(USERS):
        time = 1_000_000 + 1000 * n
        answer = http.post("/v1/rank", json={"user": f"u{n}", "items": ["i0", "i1", "i2", "i3"], "time": time}).json()
        if clicked in [item["item"] for item in answer["items"][:2]]:
            click = {"type": "interaction", "time": time + 10, "impression": answer["impression"], "item": clicked}
            assert http.post("/v1/events", content=json.dumps(click)).status_code == 200
    http.post("/v1/rank", json={"user": "end", "items": ["i0", "i1"], "time": 10_000_000})
    until(lambda: sum(figures(http)[f'recsys_shadow_total{{result="{one}"}}'] for one in SEEN) == USERS + 1)


def test_a_better_challenger_is_promoted_with_its_figures(
    folder: Path, client: RedisClient, shadowed: httpx.Client
) -> None:
    traffic(shadowed, "i0")
    found = json.loads(recsys(folder, "promote", "wide", "--check", "--json"))
    assert found["against"] == []
    assert found["judgement"]["lists"] >= NEARLY_ALL
    said = recsys(folder, "promote", "wide", "--check")
    assert "Verdict on 'wide': better" in said
    assert history(client) == []
    recsys(folder, "promote", "wide")
    (made,) = history(client)
    assert (made.judged["verdict"], made.judged["items"], made.forced) == ("better", found["judgement"]["items"], [])
    until(lambda: shadowed.post("/v1/rank", json={"user": "u", "items": ["i0"]}).json()["model"].startswith("wide@"))


def test_a_worse_challenger_is_promoted_by_force_alone(
    folder: Path, client: RedisClient, shadowed: httpx.Client
) -> None:
    """It has learned that everybody wants i0, more firmly than the champion; now everybody wants i3."""
    traffic(shadowed, "i3")
    said = recsys(folder, "promote", "wide", fails=True)
    assert "'wide' is not promoted: 'wide' is worse than the champion by" in said
    assert history(client) == []
    assert "is the champion now" in recsys(folder, "promote", "wide", "--force")
    (made,) = history(client)
    assert "is worse than the champion" in made.forced[0]


def test_a_challenger_that_nobody_has_seen_is_not_promoted(folder: Path, client: RedisClient) -> None:
    said = recsys(folder, "promote", "wide", fails=True)
    assert "there is too little to judge 'wide' by: 0 users, fewer than 100" in said
    assert "Name it in [serving] shadow" in said
    assert history(client) == []
