"""Opening the event log that a URL names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.errors import InvalidValueError
from streaming.environment_secret import without_secrets
from streaming.log.kafka.address import KafkaAddress

if TYPE_CHECKING:
    import pyarrow as pa

    from streaming.log.event_log import Decode, EventLog


@dataclass(frozen=True, slots=True)
class Opening:
    """How a log is opened: what each kind of log takes of it."""

    partitions: int | None
    """Of a log that is not there yet."""
    decode: Decode
    """For events that other producers wrote as JSON."""
    keep: int | None
    """Of a log in files: how much of event time (ms) stays before its newest events; None for all."""


Opener = Callable[[str, Opening], "EventLog"]
"""From the place, which is the URL without its scheme."""


def _file_log(place: str, how: Opening) -> EventLog:
    from streaming.log.file_log import FileLog  # here, because checking a URL needs no Arrow

    return FileLog(Path(place), how.partitions, keep=how.keep)


def _kafka_log(place: str, how: Opening) -> EventLog:
    _need_kafka()
    from streaming.log.kafka.kafka_log import KafkaLog

    return KafkaLog(KafkaAddress.parse(place), how.decode, how.partitions)


def _need_kafka() -> None:
    if find_spec("kafka") is None:
        raise InvalidValueError("a log in Kafka needs `pip install 'recsys[kafka]'`")


LOGS: dict[str, Opener] = {"file": _file_log, "kafka": _kafka_log}
"""How a log is opened, by the scheme of its URL."""


def split_url(url: str) -> tuple[str, str]:
    """The scheme and the place. Raises InvalidValueError for an unknown scheme, and for a place that cannot be one.

    >>> split_url("file:run/log"), split_url("file:///run/log")
    (('file', 'run/log'), ('file', '/run/log'))
    """
    scheme, colon, place = url.partition(":")
    if not colon or scheme not in LOGS:
        known = ", ".join(f"{name}:PLACE" for name in LOGS)
        raise InvalidValueError(f"log {without_secrets(url)!r} has no known scheme: write {known}")
    if scheme == "file":
        place = place.removeprefix("//")
    if not place:
        raise InvalidValueError(f"log {url!r} names no place; write {scheme}:PLACE, such as file:run/log")
    if scheme == "kafka":
        KafkaAddress.parse(place)
    return scheme, place


def of_project(url: str, project: str) -> str:
    """The log of a project that shares a broker with others: its name is put before the topic.

    A log in files is the project's own, and an empty name leaves the topic as it is.

    >>> of_project("kafka://a:9092/events?partitions=8", "shop"), of_project("file:run/log", "shop")
    ('kafka://a:9092/shop.events?partitions=8', 'file:run/log')
    """
    scheme, place = split_url(url)
    if scheme != "kafka" or not project:
        return url
    hosts, _, topic = place.removeprefix("//").partition("/")
    return f"kafka://{hosts}/{project}.{topic}"


def local_path(url: str) -> Path | None:
    """The path that the URL names; None if it names a host, `SCHEME://HOST`. Raises as `split_url` does."""
    _, place = split_url(url)
    return None if place.startswith("//") else Path(place)


def check_keep(url: str, keep: int | None) -> None:
    """Raises InvalidValueError when `keep` is given for a log that is not in files."""
    if keep is not None and split_url(url)[0] != "file":
        raise InvalidValueError(
            "is for a log in files: delete it; how long Kafka keeps events is its topic's own setting retention.ms"
        )


def open_log(
    url: str, partitions: int | None = None, decode: Decode | None = None, keep: int | None = None
) -> EventLog:
    """The log at `url`, such as `file:run/log`; it is made if it is not there.

    `partitions` is for a new log; None takes what is there, or 1. `decode` is for events that other producers wrote to
    the log as JSON; without it they are refused. `keep` is `Opening`'s. Raises InvalidValueError for an unknown scheme,
    and when the log has another number of partitions.
    """
    scheme, place = split_url(url)
    check_keep(url, keep)
    return LOGS[scheme](place, Opening(partitions, decode or _refuse, keep))


def inspect_log(url: str, partitions: int | None = None) -> tuple[str, str]:
    """A sentence on the log at `url`, which is not made, and its identity; "" for a log of this machine.

    `partitions` are those of a new log. Raises RecsysError, with a remedy, for what keeps the log from being used.
    """
    scheme, place = split_url(url)
    if scheme != "kafka":
        return "", ""
    _need_kafka()
    from streaming.log.kafka.inspection import inspect

    return inspect(KafkaAddress.parse(place), partitions)


def _refuse(values: Sequence[bytes], _clocks: Sequence[int]) -> tuple[pa.RecordBatch, Sequence[tuple[int, str]]]:
    import pyarrow as pa

    from streaming.events.schema import EVENT_SCHEMA

    reason = "not a record of this project, and the log was opened without a decoder of others"
    return pa.RecordBatch.from_pylist([], EVENT_SCHEMA), [(number, reason) for number in range(len(values))]
