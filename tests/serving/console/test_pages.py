"""What the console's pages show, and that looking leaves no trace."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from html import escape
from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys.errors import LogError
from serving.assembly import build
from serving.console.rendering import FOLDER, PAGES
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.goals import Goal
from serving.process_settings import Settings
from serving.replication.connection.redis_client import RedisClient
from serving.replication.embedded_redis import EmbeddedRedis, socket_path
from serving.replication.promoter import Promoter
from serving.replication.promotions import Promotion
from serving.replication.publish.publisher import Publisher
from streaming.encode.feature_spec import FeatureSpec, Field
from streaming.events.schema import Impression, Interaction
from streaming.ingest.refusals.dead_letters import DeadLetter, DeadLetters
from streaming.log.erasure import append_erasures
from streaming.log.memory_log import MemoryLog
from tests.serving.api.asking import FailingLog, Start, ready, stored
from tests.serving.console.shop import publish_judgement
from tests.serving.fakes import SPEC, Graphs, artefact
from tests.serving.running import running
from tests.serving.waiting import until

HOSTILE = '<script>alert("1")</script>'
HUGE = "u" * 512
STATUS = {
    "run": "3f2a",
    "serves": True,
    "step": 1201,
    "event_time": 1_700_000_000_000,
    "lag_events": 17,
    "events_per_second": 2500.4,
    "rows": 98_765,
    "tasks": {"click": {"auc": 0.71234, "log_loss": 0.5, "calibration": 1.0123}},
    "left_out": {"price": 3},
    "tables": {"item": {"live": 1234, "admitted": 2345, "expired": 56, "evicted": 7, "bytes": 3 << 20}},
    "outcomes": {"impressions": 4321, "unmatched": 12, "late": 0},
    "losses": {"bad_values": 5},
    "checkpoint": {"step": 1200, "written": 1_700_000_000_000},
}


def page(app: httpx.Client, address: str = "", status: Any = 200, **fields: str) -> str:
    answer = app.get(f"/console/{address}", params=fields)
    assert answer.status_code == status, answer.text
    return answer.text


def send(app: httpx.Client, address: str, **fields: str) -> httpx.Response:
    return app.post(f"/console/{address}", data=fields, headers={"Origin": str(app.base_url).rstrip("/")})


def tiles(text: str) -> dict[str, tuple[str, str]]:
    """Of each tile its name, its figure and its definition."""
    one = r"<dt>(.*?)</dt>\s*<dd class=\"figure\">(.*?)</dd>\s*<dd class=\"meaning\">(.*?)</dd>"
    found = re.findall(one, text, re.DOTALL)
    return {name: (re.sub("<.*?>", "", figure).strip(), meaning) for name, figure, meaning in found}


def rows(text: str, name: str) -> list[list[str]]:
    """Of the table with this name."""
    table = text[text.index(f">{name}</h") :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    lines = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [[cell.strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL)] for line in lines]


@pytest.fixture
def app(start: Start, publish: Callable[..., Publisher]) -> httpx.Client:
    publisher = publish({"a": 1.0, "b": 2.0, "c": 3.0})
    publisher.publish_catalog([("a", 3.0), ("b", 2.0), ("c", 1.0)], [("c", 3), ("b", 2)])
    publisher.publish_status(STATUS)
    app = ready(start())
    until(lambda: "1,201" in page(app))
    return app


def test_the_loop(app: httpx.Client) -> None:
    text = page(app)
    shown = tiles(text)
    figures = {name: figure for name, (figure, _) in shown.items()}
    assert figures["Server"] == "ready"
    assert figures["Redis"] == "answers"
    assert figures["Lag"] == "17"
    assert figures["Rows learned"] == "98,765"
    assert figures["Mean rate"] == "2,500 /s"
    assert figures["Run"] == "3f2a, served"
    assert re.fullmatch(r"[\d,.]+ days", figures["Newest label"])
    assert re.fullmatch(r"[\d,.]+ days", figures["Checkpoint"])
    assert rows(text, "Recent rows, scored before they were learned") == [["click", "0.7123", "0.5000", "1.0123", "-"]]
    events = {name: number for name, number, _ in rows(text, "What became of events")}
    assert events == {"impressions": "4,321", "unmatched": "12", "bad values": "5"}
    assert "3 rows were not learned, because field price made them infinite." in text
    assert rows(text, "Models and versions")[0][:4] == ["online", "champion", "step-1", "1"]


def test_who_promoted_and_went_back_is_shown(app: httpx.Client, client: RedisClient) -> None:
    promoter = Promoter(client)
    first = promotion(1, "online", why=HOSTILE, forced=["it is worse"], judged={"verdict": "no difference shown"})
    promoter.append(first, promoter.candidate("online"))
    promoter.append(promotion(2, "online", rolled_back=True), promoter.candidate("online"))
    until(lambda: "went back" in page(app))
    text = page(app)
    assert HOSTILE not in text
    back, promoted = rows(text, "Champions, the newest first")
    assert back[:4] == ["2", "went back", "online", "step-1"]
    assert back[6:] == ["-", "-"]
    assert promoted[:2] == ["1", "promoted"]
    assert promoted[5] == "ada@shop"
    assert promoted[6].endswith("(in spite of: it is worse)")
    assert promoted[7] == "no difference shown"


def promotion(version: int, model: str, **more: Any) -> Promotion:
    return Promotion(version, model, "step-1", 1_700_000_000_000, "ada@shop", **more)


def test_every_figure_has_its_definition(app: httpx.Client) -> None:
    """Of tiles beside them; of each table a list that names the same columns."""
    tables = 0
    for address, fields in [(one, {}) for one, _ in PAGES] + [("try", {"user": "u"}), ("lookup", {"item": "a"})]:
        text = page(app, "" if address == "." else address, **fields)
        assert all(len(meaning) > 10 for _, meaning in tiles(text).values())
        assert text.count('class="figure"') == len(tiles(text))
        for columns, meanings in re.findall(r"<thead>(.*?)</thead>.*?<dl>(.*?)</dl>", text, re.DOTALL):
            names = re.findall(r"<th[^>]*>(.*?)</th>", columns)
            assert names == re.findall(r"<dt>(.*?)</dt>", meanings)
            assert all(len(one) > 3 for one in re.findall(r"<dd>(.*?)</dd>", meanings))
            tables += 1
    assert tables >= 6


def test_plots_have_a_past(app: httpx.Client) -> None:
    def drawn() -> dict[str, Any]:
        found: dict[str, Any] = app.get("/console/plots/loop").json()
        return found if found["plots"]["lag"] else {}

    found = until(drawn)
    assert found["plots"]["lag"][0]["name"] == "online"
    assert found["plots"]["lag"][0]["values"][-1] == 17
    assert found["plots"]["log_loss"][0]["name"] == "online, click"
    assert len(found["times"]) == len(found["plots"]["lag"][0]["values"])


def test_without_a_trainer_and_a_model(start: Start) -> None:
    text = page(start())
    assert "No trainer has published its status" in text
    assert tiles(text)["Server"][0] == "! not ready"
    assert "Model <strong>online</strong> is not served: not published yet." in text


def test_while_redis_is_away(publish: Callable[..., Publisher], tmp_path: Path, settings: Settings) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        with server.client() as client:
            Publisher(client, "online").publish_status(STATUS)
            Publisher(client, "online").publish_artefact(artefact())
        url = f"unix://{socket_path(tmp_path / 'redis')}"
        with running(build(replace(settings, redis_url=url), FailingLog(), Graphs())) as app:
            ready(app)
            until(lambda: "1,201" in page(app))
            server.close()
            until(lambda: tiles(page(app))["Redis"][0] == "! away")
            assert "1,201" in page(app)
            assert "Redis does not answer" in page(app, "experiments")
            assert "Redis does not answer" in page(app, "lookup", user="ada")
            assert "Degraded: " in page(app, "try", user="u", items="a")
            assert page(app, "tables")


def test_a_look_leaves_no_trace(app: httpx.Client, log: FailingLog, client: RedisClient) -> None:
    before = client.keys("recsys:shown:*")
    text = page(app, "try", user="u", count="2", items="a\nb\nc")
    assert [row[1] for row in rows(text, "Ranking")] == ["c", "b"]
    assert "Not logged." in text
    text = page(app, "try", user="u")
    assert {row[1]: row[3] for row in rows(text, "Ranking")}.keys() == {"a", "b", "c"}
    assert stored(log) == []
    assert client.keys("recsys:shown:*") == before
    assert tiles(page(app))["Answers"][0] == "0"


def test_what_features_add(start: Start, publish: Callable[..., Publisher], log: FailingLog) -> None:
    """A score is a squashed sum here: without its price an item's sum is smaller by the price, age is of all items."""
    fields = [Field("price", "numeric", "item.price"), Field("age", "numeric", "request.age")]
    publisher = publish({"a": 0.1, "b": 0.2}, spec=FeatureSpec.of([*SPEC.fields, *fields]))
    publisher.publish_entities({"u": {"age": -1.0}}, {"a": {"price": 0.5}, "b": {"price": -0.25}})
    app = ready(start())
    found = rows(page(app, "try", user="u", items="a\nb", why="1"), "Ranking")

    def squashed(total: float) -> float:
        return 1 / (1 + math.exp(-total))

    def added(whole: float, price: float) -> str:
        of = {"price": squashed(whole) - squashed(whole - price), "age": squashed(whole) - squashed(whole + 1)}
        return ", ".join(f"{name} {value:+.4f}" for name, value in sorted(of.items(), key=lambda one: -abs(one[1])))

    assert {row[1]: row[5] for row in found} == {"a": added(0.4 + 0.5 - 1, 0.5), "b": added(0.8 - 0.25 - 1, -0.25)}
    assert stored(log) == []
    assert "What features add" not in page(app, "try", user="u", items="a\nb")
    assert [row[5] for row in rows(page(app, "try", user="u", items="zz", why="1"), "Ranking")] != ["-"]


def test_a_real_request_is_an_impression_and_can_be_clicked(app: httpx.Client, log: FailingLog) -> None:
    text = send(app, "ask", user="u", items="a\nb", count="2").text
    (shown,) = until(lambda: stored(log))
    assert isinstance(shown, Impression)
    assert f"<code>{shown.id}</code>" in text
    assert shown.items == ["b", "a"]
    answer = send(app, "click", user="u", impression=shown.id, item="a", action="click", items="b\na")
    assert "Waiting for the trainer" in answer.text
    (clicked,) = stored(log)[1:]
    assert isinstance(clicked, Interaction)
    assert (clicked.impression, clicked.item, clicked.action) == (shown.id, "a", "click")


def test_what_a_click_does_is_shown(app: httpx.Client, publish: Callable[..., Publisher]) -> None:
    scores = {"a": 0.9820138, "b": 0.9996647}  # squashed sums of four: those of the first publication
    fields = {"user": "u", "item": "a", "clicked": "9999999999999", "before": json.dumps(scores)}
    assert "Waiting for the trainer" in send(app, "after", **fields).text
    publish({"a": 4.0})
    moved = until(lambda: text if "The scores moved" in (text := send(app, "after", **fields).text) else "")
    assert [row[:2] for row in rows(moved, "Scores before and after")] == [["a", "1 → 1"], ["b", "2 → 2"]]
    assert "hx-post" not in moved


def test_nothing_moved_in_time(app: httpx.Client) -> None:
    before = json.dumps({"a": 0.9820138})
    text = send(app, "after", user="u", item="a", clicked="1000", before=before).text
    assert "no score moved" in text
    assert "hx-post" not in text


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"user": "u", "count": "0"}, "count: 0; the console shows 1 to 100"),
        ({"user": "u", "count": "many"}, "count: must be a number"),
        ({"user": "u" * 513}, "512"),
        ({"user": "u", "items": "a\na"}, "items"),
    ],
)
def test_wrong_input_is_named(app: httpx.Client, fields: dict[str, Any], wrong: str) -> None:
    assert wrong in page(app, "try", 422, **fields)


@pytest.mark.parametrize("name", [HOSTILE, HUGE, "ünï ☃", "a&b=c"])
def test_any_id_is_shown_as_text(app: httpx.Client, name: str) -> None:
    for address, fields in (
        ("try", {"user": name, "items": name}),
        ("lookup", {"user": name}),
        ("lookup", {"item": name}),
        ("erase", {"user": name}),
    ):
        text = page(app, address, **fields)
        assert escape(name).replace("&quot;", "&#34;") in text
        assert HOSTILE not in text


@pytest.mark.parametrize("body", [b"\xff", b"user=%FF", b"user=%ED%A0%80"])
def test_what_is_no_text_is_refused(app: httpx.Client, body: bytes) -> None:
    answer = app.post("/console/ask", content=body, headers={"Origin": str(app.base_url).rstrip("/")})
    assert answer.status_code == 400
    assert "the form cannot be read" in answer.text


def test_ids_that_no_event_can_have(app: httpx.Client) -> None:
    assert "None that this server knows of." in page(app, "lookup", user="u" * 5000)
    assert app.get("/console/lookup?user=%ED%A0%80%00").status_code == 200


def test_experiments_are_those_of_the_route(start: Start, publish: Callable[..., Publisher]) -> None:
    publish({"a": 1.0, "b": 2.0})
    arms = Arm("online"), Arm("popular", "popularity")
    app = ready(start(experiments=(Experiment("shop", arms),)))
    for user in range(20):
        assert app.post("/v1/rank", json={"user": f"u{user}", "items": ["a", "b"]}).status_code == 200

    def counted() -> list[Any]:
        found = app.get("/v1/experiments").json()["experiments"][0]["arms"]
        return found if sum(arm["impressions"] for arm in found) == 20 else []

    arms_now = until(counted)
    shown = rows(page(app, "experiments"), "Arms")
    assert [row[:4] for row in shown] == [
        [arm["name"], arm["model"], f"{arm['users']:,}", f"{arm['impressions']:,}"] for arm in arms_now
    ]
    assert shown[0][-1] == "control"
    assert shown[1][-1] == "too few data"
    assert "popular against online, over time" in page(app, "experiments")
    assert "plots" in app.get("/console/plots/experiments").json()


def test_what_the_log_says_is_shown(
    start: Start, publish: Callable[..., Publisher], log: FailingLog, client: RedisClient
) -> None:
    publish({"a": 1.0, "b": 2.0})
    experiment = Experiment("shop", (Arm("online"), Arm("popular", "popularity")))
    app = ready(start(experiments=(experiment,)))
    for user in range(20):
        assert app.post("/v1/rank", json={"user": f"u{user}", "items": ["a", "b"]}).status_code == 200
    until(lambda: len(stored(log)) == 20)
    goals = [Goal("bought", "conversion", 3_600_000, frozenset({"buy"}))]
    publish_judgement(client, log, experiment, goals, 1_700_000_000_000)
    text = page(app, "experiments")
    assert "found at 2023-11-14 22:13:20 UTC" in text
    judged = text[text.index("By the event log") :]
    online, popular = rows(judged, "Arms")
    assert int(online[2]) + int(popular[2]) == 20
    assert [(row[0], row[1], row[5]) for row in rows(judged, "Goals")] == [
        ("bought", "online", "control"),
        ("bought", "popular", "too few data"),
    ]
    guarded = rows(judged, "Guardrails")
    assert [(row[0], row[1], row[5]) for row in guarded] == [
        ("latency", "online", "control"),
        ("latency", "popular", "too few data"),
    ]
    assert float(guarded[0][2]) > 0


def test_users_and_items(app: httpx.Client, client: RedisClient) -> None:
    Publisher(client, "online").publish_entities({"ada": {"age": 36.5}}, {"a": {"genre": ["Drama", "War"]}})
    assert rows(page(app, "lookup", user="ada"), "Features, as served") == [["age", "36.5"]]
    text = page(app, "lookup", item="a")
    assert rows(text, "Features, as served") == [["genre", "Drama, War"]]
    assert tiles(text)["Popularity"][0] == "3.0000"
    assert tiles(text)["Place by age"][0] == "-"
    assert tiles(page(app, "lookup", item="c"))["Place by age"][0] == "1"
    assert "None that this server knows of." in page(app, "lookup", user="nobody")


def test_what_a_user_did_is_read_from_the_log(app: httpx.Client, log: FailingLog) -> None:
    ranked = [
        app.post("/v1/rank", json={"user": user, "items": ["a", "b"], "time": time}).json()
        for user, time in (("ada", 1_000), ("eve", 2_000), ("ada", 3_000))
    ]
    for answer, time in zip(ranked, (4_000, 5_000, 6_000), strict=True):
        clicked = {"type": "interaction", "time": time, "impression": answer["impression"], "item": "b"}
        assert app.post("/v1/events", json=clicked).status_code == 200
    app.post("/v1/events", json={"type": "user", "time": 7_000, "user": "ada", "features": {"age": 1}})
    name = "Latest events, of the last 100,000 in the log"
    found = rows(page(app, "lookup", user="ada"), name)
    assert [row[0] for row in found] == [f"1970-01-01 00:00:0{second} UTC" for second in (7, 6, 4, 3, 1)]
    assert [row[1:] for row in found] == [
        ["features", "-", "-"],
        ["click", "b", "-"],
        ["click", "b", "-"],
        ["shown", "b, a", "online"],
        ["shown", "b, a", "online"],
    ]
    append_erasures(log, ["ada"])
    assert "Features, as served" in page(app, "lookup", user="ada")
    with pytest.raises(ValueError, match="substring not found"):
        rows(page(app, "lookup", user="ada"), name)
    assert len(rows(page(app, "lookup", user="eve"), name)) == 2


def test_a_log_that_cannot_be_read(app: httpx.Client, log: FailingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(log, "read", broken)
    app.post("/v1/rank", json={"user": "ada", "items": ["a"]})
    text = until(lambda: text if "cannot be read" in (text := page(app, "lookup", user="ada")) else "")
    assert "The event log cannot be read: input/output error" in text


def test_a_click_for_a_model_that_nobody_trains(start: Start, publish: Callable[..., Publisher]) -> None:
    publish({"a": 1.0, "b": 2.0})
    app = ready(start())
    shown = app.post("/v1/rank", json={"user": "u", "items": ["a", "b"]}).json()
    answer = send(app, "click", user="u", impression=shown["impression"], item="a", action="click", items="a\nb")
    assert "no trainer has spoken of online" in answer.text
    assert "hx-post" not in answer.text


def test_a_user_is_erased_only_after_the_id_was_typed_again(
    app: httpx.Client, log: FailingLog, client: RedisClient
) -> None:
    Publisher(client, "online").publish_entities({"ada": {"age": 36.5}}, {})
    refused = send(app, "erase", user="ada", again="adb")
    assert refused.status_code == 422
    assert "nothing was erased" in refused.text
    assert client.get("recsys:user:ada")
    done = send(app, "erase", user="ada", again="ada")
    assert done.status_code == 200
    assert "Nothing of the user is left" in done.text
    assert client.get("recsys:user:ada") is None


def test_embedding_tables(app: httpx.Client) -> None:
    (row,) = rows(page(app, "tables"), "Embedding tables of online")
    assert row == ["item", "1,234", *3 * ["0"], "2,345", "0", "56", "7", *5 * ["0"], "3.00"]


def test_refused_records_by_reason(start: Start, tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead_letters.jsonl")
    letters.write(DeadLetter("events.jsonl", line, 0, "time: missing", b'{"line": %d}' % line) for line in range(1, 4))
    letters.write([DeadLetter("x.csv", 9, 0, "not JSON", HOSTILE.encode())])
    with letters.path.open("ab") as file:
        file.write(b'{"half')
    text = page(start(dead_letters=letters.path), "tables")
    assert rows(text, "Refused records by reason") == [
        ["time: missing", "3", "events.jsonl, line 3", "{&#34;line&#34;: 3}"],
        ["not JSON", "1", "x.csv, line 9", escape(HOSTILE).replace("&quot;", "&#34;")],
    ]
    assert "The server sees none in" in page(start(dead_letters=tmp_path / "none.jsonl"), "tables")


class RefusingMemoryLog(MemoryLog):
    """A log that refused records, as one in Kafka may; or that cannot say so."""

    away = False

    def refused(self, most: int) -> list[dict[str, Any]]:
        if self.away:
            raise LogError("topic clicks on a:1: no answer within 30 s; start the brokers")
        letters = [(1, "JSON is malformed", "{a"), (4, "JSON is malformed", HOSTILE), (7, "time: missing", "{}")]
        return [
            {"topic": "clicks", "partition": 0, "offset": offset, "reason": reason, "raw": raw}
            for offset, reason, raw in letters
        ][-most:]


def test_records_that_the_log_refused(settings: Settings) -> None:
    log = RefusingMemoryLog()
    with running(build(settings, log, Graphs())) as app:
        assert rows(page(app, "tables"), "Refused records of the log by reason") == [
            ["JSON is malformed", "2", "clicks, partition 0, offset 4", escape(HOSTILE).replace("&quot;", "&#34;")],
            ["time: missing", "1", "clicks, partition 0, offset 7", "{}"],
        ]
        log.away = True
        assert "What the log refused cannot be shown: topic clicks on a:1: no answer" in page(app, "tables")


def test_pages_load_nothing_from_outside(app: httpx.Client) -> None:
    for address in ("", "try", "experiments", "lookup", "tables", "sign-in", "nothing-here"):
        answer = app.get(f"/console/{address}")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        sources = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
        assert len(sources) > 6
        assert not [one for one in sources if "//" in one]
        assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", answer.text)
        for one in sources:
            if one.startswith("static/"):
                assert app.get(f"/console/{one}").status_code == 200
    assert app.get("/console").headers["Location"] == "console/"


def test_unknown_pages(app: httpx.Client) -> None:
    assert "There is no page /console/nothing." in page(app, "nothing", 404)
    assert app.put("/console/try").status_code in (403, 405)


def test_a_wheel_has_all_that_pages_need() -> None:
    packed = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "package-data"
    ]["*"]
    files = [file.relative_to(FOLDER) for file in FOLDER.rglob("*") if file.suffix not in (".py", ".md", ".pyc", "")]
    assert len(files) > 15
    assert not [file for file in files if not any(fnmatch(str(file), pattern) for pattern in packed)]


def test_what_is_not_ours_is_as_published() -> None:
    folder = FOLDER / "static" / "vendor"
    named = re.findall(
        r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name for name, _ in named} == {file.name for file in folder.iterdir() if file.suffix in (".js", ".css")}
    for name, digest in named:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        assert (folder / f"{name.split('.')[0]}.LICENSE").exists()
