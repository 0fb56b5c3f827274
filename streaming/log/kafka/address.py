"""Where a topic is: `//HOST:PORT[,HOST:PORT]/TOPIC[?OPTION=VALUE&...]`, a log's URL without its scheme."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from recsys.errors import InvalidValueError
from streaming.environment_secret import revealed, secret_name, without_secrets

DEAD_LETTERS = "-dead-letters"
"""What is added to a topic's name for the topic of its refused records."""
EXAMPLE = "kafka://127.0.0.1:9092/clicks"


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise InvalidValueError(f"{text!r} is not a number from 1 on")
    return int(text)


def _protocol(text: str) -> str:
    return _one_of(text.upper(), "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def _mechanism(text: str) -> str:
    return _one_of(text.upper(), "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def _one_of(text: str, *known: str) -> str:
    if text not in known:
        raise InvalidValueError(f"{text!r} is none of {', '.join(known)}")
    return text


def _file(text: str) -> str:
    if not os.path.isabs(text):
        raise InvalidValueError(f"{text!r} is not an absolute path")
    return text


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the URL: how it is read, and for one that is passed on to kafka-python what it is called there."""

    read: Callable[[str], Any]
    setting: str = ""


OPTIONS = {
    "partitions": Option(_count),  # of a topic that is not there yet; one that is there must have as many
    "replication": Option(_count),  # copies of each record in a new topic; without it what the broker's default is
    "timeout": Option(_count),  # seconds to wait for a broker
    "security": Option(_protocol, "security_protocol"),
    "ca": Option(_file, "ssl_cafile"),
    "certificate": Option(_file, "ssl_certfile"),
    "key": Option(_file, "ssl_keyfile"),
    "key_password": Option(secret_name, "ssl_password"),
    "mechanism": Option(_mechanism, "sasl_mechanism"),
    "user": Option(str, "sasl_plain_username"),
    "password": Option(secret_name, "sasl_plain_password"),
}


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Brokers, topic, and how to connect; `settings` are kafka-python's, with passwords as `env:NAME`."""

    servers: tuple[str, ...]
    topic: str
    partitions: int | None = None
    replication: int | None = None
    timeout: int = 30
    """Seconds to wait for a broker."""
    settings: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(place: str) -> KafkaAddress:
        """Raises InvalidValueError, which says what to write.

        >>> address = KafkaAddress.parse("//a:9092,b:9092/clicks?partitions=8&security=ssl")
        >>> address.servers, address.topic, address.partitions, address.settings
        (('a:9092', 'b:9092'), 'clicks', 8, {'security_protocol': 'SSL'})
        """
        if "@" in place.partition("?")[0]:
            raise InvalidValueError(f"log '{_shown(place)}': write ?user=NAME&password=env:VARIABLE, a URL is shown")
        hosts, slash, rest = place.removeprefix("//").partition("/")
        topic, _, query = rest.partition("?")
        servers = tuple(hosts.split(","))
        if not place.startswith("//") or not slash or not all(re.fullmatch(r"\S+:\d+", server) for server in servers):
            raise InvalidValueError(f"log '{_shown(place)}' names no broker and topic; write such as {EXAMPLE}")
        if not re.fullmatch(rf"[A-Za-z0-9._-]{{1,{249 - len(DEAD_LETTERS)}}}", topic) or topic in (".", ".."):
            raise InvalidValueError(
                f"log '{_shown(place)}': a topic's name has letters, digits, '.', '_' and '-', got {topic!r}"
            )
        return KafkaAddress(servers, topic, **_options(place, query))

    @property
    def where(self) -> str:
        """For messages."""
        return f"topic {self.topic} on {', '.join(self.servers)}"

    @property
    def dead_letters(self) -> str:
        """The topic of refused records."""
        return self.topic + DEAD_LETTERS

    def client_settings(self) -> dict[str, Any]:
        """Arguments for a client of kafka-python. Raises InvalidValueError for a password that is not set."""
        return {
            "bootstrap_servers": list(self.servers),
            "bootstrap_timeout_ms": self.timeout * 1000,
            "request_timeout_ms": self.timeout * 1000,
            "reconnect_backoff_max_ms": 1000,
            **{name: revealed(value, "the log's") for name, value in self.settings.items()},
        }


def _shown(place: str) -> str:
    return without_secrets(f"kafka:{place}")


def _options(place: str, query: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {"settings": {}}
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name, text in given.items():
        if name not in OPTIONS:
            raise InvalidValueError(f"log '{_shown(place)}': unknown option {name!r}; known are {', '.join(OPTIONS)}")
        option = OPTIONS[name]
        try:
            value = option.read(text)
        except InvalidValueError as error:
            raise InvalidValueError(f"log '{_shown(place)}': {name}: {error}") from None
        if option.setting:
            chosen["settings"][option.setting] = value
        else:
            chosen[name] = value
    _check_together(place, chosen["settings"])
    return chosen


def _check_together(place: str, settings: dict[str, Any]) -> None:
    protocol = settings.get("security_protocol", "PLAINTEXT")
    sasl = {name for name in settings if name.startswith("sasl_")}
    if "SASL" in protocol and len(sasl) < 3:
        raise InvalidValueError(f"log '{_shown(place)}': security={protocol} needs mechanism, user and password")
    if sasl and "SASL" not in protocol:
        raise InvalidValueError(f"log '{_shown(place)}': mechanism, user and password need security=SASL_SSL")
    if any(name.startswith("ssl_") for name in settings) and "SSL" not in protocol:
        raise InvalidValueError(f"log '{_shown(place)}': ca, certificate and key need security=SSL or SASL_SSL")
