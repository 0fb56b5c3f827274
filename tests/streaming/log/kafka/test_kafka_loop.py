"""The whole loop with its log in Kafka: one line of `recsys.toml` changed, and other producers on the same topic."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deploy.kafka.broker import Broker, java
from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.errors import StateError
from streaming.ingest.codec import to_events
from tests.streaming.log.kafka.test_kafka_faults import admin, topic_of

pytestmark = pytest.mark.slow

CONFIG = """
[log]
url = "{url}"
[features]
dim = 4
[model]
name = "fm"
mlp = [4]
[training]
batch_size = 32
wait = "1m"
checkpoint_every = 5
"""


def lines(lists: int = 200) -> str:
    """Lists of four items, of which some are clicked."""
    rng = np.random.default_rng(3)
    events = []
    for number in range(lists):
        items = [f"i{n}" for n in rng.choice(12, 4, replace=False)]
        shown = {
            "type": "impression",
            "id": f"n{number}",
            "time": 1000 * number,
            "user": f"u{number % 7}",
            "items": items,
        }
        events.append(shown)
        if rng.random() < 0.7:
            click = {"type": "interaction", "time": 1000 * number + 500, "impression": f"n{number}", "item": items[0]}
            events.append(click)
    return "\n".join(map(json.dumps, events)) + "\n"


def project(folder: Path, url: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recsys.toml").write_text(CONFIG.format(url=url))
    (folder / "events.jsonl").write_text(lines())
    return folder / "recsys.toml"


def recsys(config: Path, command: str, *arguments: str) -> str:
    result = CliRunner().invoke(main, [command, "-c", str(config), *arguments])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(config: Path, command: str, *arguments: str) -> str:
    result = CliRunner().invoke(main, [command, "-c", str(config), *arguments])
    assert result.exit_code == 1, result.output
    return " ".join(result.output.split())


def learned(config: Path) -> str:
    """The digest of what was learned from the whole log."""
    with wiring.trainer(load(config), publish=False) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.learner.steps > 10
        return trainer.learner.digest()


def test_the_same_is_learned_from_kafka_as_from_files(tmp_path: Path, url: str) -> None:
    in_kafka, in_files = project(tmp_path / "kafka", url), project(tmp_path / "files", "file:run/log")
    for config in (in_kafka, in_files):
        recsys(config, "check")
        assert "351 accepted + 0 duplicate + 0 dead-lettered" in recsys(
            config, "ingest", str(config.parent / "events.jsonl")
        )
        assert "0 accepted" in recsys(config, "ingest", str(config.parent / "events.jsonl"))
    assert learned(in_kafka) == learned(in_files)
    assert learned(in_kafka) == learned(in_files)  # resumed at the end: nothing is learned twice


def test_two_projects_with_one_topic_in_their_address_do_not_see_each_other(
    tmp_path: Path, broker: Broker, url: str
) -> None:
    shop, club = project(tmp_path / "shop", url), project(tmp_path / "club", url)
    for config in (shop, club):
        config.write_text(f'[project]\nname = "{config.parent.name}"\n{config.read_text()}')
    recsys(shop, "ingest", str(shop.parent / "events.jsonl"))
    with closing(wiring.event_log(load(club))) as log:
        assert log.end() == (0,) * log.partitions
    (club.parent / "events.jsonl").write_text(lines(190) + "no event\n")
    assert "1 dead-lettered" in recsys(club, "ingest", str(club.parent / "events.jsonl"))
    assert learned(shop) != learned(club)
    with closing(admin(broker)) as client:
        topics = {topic for topic in client.list_topics() if topic_of(url) in topic}
    assert topics == {f"shop.{topic_of(url)}", f"club.{topic_of(url)}"}


def test_a_trainer_that_stops_between_goes_on_where_it_was(tmp_path: Path, url: str) -> None:
    config, at_once = project(tmp_path / "kafka", url), project(tmp_path / "at once", "file:run/log")
    for one in (config, at_once):
        recsys(one, "ingest", str(one.parent / "events.jsonl"))
    recsys(config, "train", "--once", "--no-publish", "--until", "1970-01-01T00:01:30")
    with wiring.trainer(load(config), publish=False) as trainer:
        trainer.resume()
        assert 0 < trainer.learner.steps < 20
        assert trainer.progress.lag_events == 0
    assert learned(config) == learned(at_once)


def test_a_topic_made_anew_is_not_taken_for_the_one_before(tmp_path: Path, broker: Broker, url: str) -> None:
    config = project(tmp_path / "kafka", url)
    events, sources = str(config.parent / "events.jsonl"), config.parent / "run" / f"sources-{topic_of(url)}"
    recsys(config, "ingest", events)
    learned(config)
    client = admin(broker)
    client.delete_topics([topic_of(url)])
    client.close()
    with pytest.raises(StateError, match=r"another log .*: it was removed and made anew since.* another folder in"):
        learned(config)
    assert "removed and made anew since" in refused(config, "ingest", events)
    assert f"{sources} has how far files were read" in refused(config, "ingest", events)
    shutil.rmtree(sources)  # as the message says
    assert "351 accepted" in recsys(config, "ingest", events)


def test_what_was_ingested_is_known_by_topic_and_cluster_whatever_the_options(tmp_path: Path, url: str) -> None:
    config = project(tmp_path, url)
    recsys(config, "ingest", str(tmp_path / "events.jsonl"))
    again = project(tmp_path, f"{url}?timeout=120")
    assert "0 accepted" in recsys(again, "ingest", str(tmp_path / "events.jsonl"))
    log = tmp_path / "run" / f"sources-{topic_of(url)}" / "log"
    cluster, topic = log.read_text().split("/")
    log.write_text(f"elsewhere/{topic}")
    assert f"on another cluster, {cluster}, not elsewhere" in refused(config, "ingest", str(tmp_path / "events.jsonl"))


def test_check_says_what_is_at_the_address(tmp_path: Path, broker: Broker, url: str) -> None:
    config = project(tmp_path, f"{url}?partitions=2")
    where = f"log: topic {topic_of(url)} on {broker.address}"
    for _ in range(2):
        assert f"{where} is not there yet; it will be made, with partitions: 2." in recsys(config, "check")
    wiring.event_log(load(config)).close()
    assert f"{where} is there, with partitions: 2, copies of each record: 1." in recsys(config, "check")
    project(tmp_path, f"{url}?partitions=3")
    assert f"{where} has 2 partitions, not 3; write partitions=2 in [log] url" in recsys(config, "check")
    project(tmp_path, url)
    sources = tmp_path / "run" / f"sources-{topic_of(url)}"
    sources.mkdir(parents=True)
    (sources / "log").write_text("other/topic")
    assert f"log: {sources} has how far files were read into a log that is not" in recsys(config, "check")
    project(tmp_path, "kafka://127.0.0.1:1/clicks?timeout=1")
    assert "looking at the topic: no answer within 1 s; start the brokers" in recsys(config, "check")


def test_kafkas_own_producer_and_consumer(tmp_path: Path, broker: Broker, url: str) -> None:
    config = project(tmp_path / "kafka", url)
    log = wiring.event_log(load(config))
    asked = ["--bootstrap-server", broker.address, "--topic", topic_of(url)]
    producer = java("org.apache.kafka.tools.ConsoleProducer", asked)
    subprocess.run(producer, input=lines(5) + "no event\n", text=True, check=True, capture_output=True, timeout=120)
    chunk = log.read(0, log.begin()[0])
    assert [json.loads(line)["time"] for line in lines(5).splitlines()] == [one.time for one in to_events(chunk.events)]
    log.append(chunk.events)
    log.close()
    stored = str(chunk.events.num_rows + 2)  # those, what is no event, and the batch
    shown = ["--from-beginning", "--property", "print.headers=true", "--property", "print.value=false"]
    consumer = java("org.apache.kafka.tools.consumer.ConsoleConsumer", [*asked, *shown, "--max-messages", stored])
    printed = subprocess.run(consumer, text=True, capture_output=True, timeout=120).stdout
    assert f"recsys-version:1,recsys-events:{chunk.events.num_rows},recsys-bytes:" in printed
    letters = ["--bootstrap-server", broker.address, "--topic", f"{topic_of(url)}-dead-letters", "--from-beginning"]
    consumer = java("org.apache.kafka.tools.consumer.ConsoleConsumer", [*letters, "--max-messages", "1"])
    letter = json.loads(subprocess.run(consumer, text=True, capture_output=True, timeout=120).stdout)
    assert (letter["topic"], letter["partition"], letter["raw"]) == (topic_of(url), 0, "no event")
