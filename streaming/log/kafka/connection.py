"""The clients of one topic, and the errors of Kafka in this project's words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NoError,
    RecordListTooLargeError,
    SaslAuthenticationFailedError,
    TopicAlreadyExistsError,
    UnsupportedCodecError,
    for_code,
)
from kafka.net.compat import KafkaNetClient

from recsys.errors import LogError, RecsysError
from streaming.log.kafka.address import KafkaAddress
from streaming.log.kafka.direct_socket import DIRECT

Result = TypeVar("Result")

_REMEDIES = {
    SaslAuthenticationFailedError: "check user, password and mechanism in [log] url",
    AuthorizationError: "let the user read, write and describe the topic, and create it if it is new",
    MessageSizeTooLargeError: "raise max.message.bytes of the topic, or make the event smaller",
    RecordListTooLargeError: "raise max.message.bytes of the topic, or make the event smaller",
    UnsupportedCodecError: "install what decompresses the records of the other producer: lz4, zstandard, python-snappy",
    KafkaTimeoutError: "start the brokers, or name others in [log] url",
}
_PAUSE = 0.1
_READING: dict[str, Any] = {
    "isolation_level": "read_committed",
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "fetch_max_wait_ms": 50,  # a fetch that waits for new records delays the next one of other partitions
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 16 << 20,
    "max_poll_records": 16_384,
    "metrics_enabled": False,
}
"""Settings of consumers."""

_logger = logging.getLogger(__name__)

logging.getLogger("kafka.admin.client").setLevel(logging.INFO)  # at DEBUG it shows its settings, passwords too


@contextmanager
def kafka_errors(address: KafkaAddress, doing: str, kind: type[RecsysError] = LogError) -> Iterator[None]:
    """Raise `kind` for an error of Kafka's client in the block, with what was done, the address and a remedy."""
    try:
        yield
    except (KafkaError, OSError) as error:
        if isinstance(error, RecsysError):
            raise
        remedies = (remedy for of, remedy in _REMEDIES.items() if isinstance(error, of))
        remedy = next(remedies, "check the brokers and [log] url")
        if isinstance(error, KafkaTimeoutError):
            why = f"no answer within {address.timeout} s"
            if address.settings:
                remedy += "; a broker that refuses security, ca, certificate, user or password does not answer either"
        else:
            why = f"{type(error).__name__}: {getattr(error, 'description', '') or error}"
        raise kind(f"{address.where}: {doing}: {why}; {remedy}") from error


class Connection:
    """Makes the clients when they are needed and closes them together; `admin`, `producer` and `consumer` each once."""

    def __init__(self, address: KafkaAddress) -> None:
        self.address = address
        self._settings = address.client_settings()
        self._made: dict[str, Any] = {}

    @property
    def admin(self) -> Any:
        return self._client("admin", KafkaAdminClient)

    @property
    def producer(self) -> Any:
        """Idempotent: a record that is sent again after a lost answer is stored once."""
        wait_ms = self.address.timeout * 1000
        return self._client(
            "producer",
            KafkaProducer,
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=wait_ms,
            max_block_ms=wait_ms,
            max_request_size=256 << 20,  # how much is too much is the broker's to say
            allow_auto_create_topics=False,
        )

    @property
    def consumer(self) -> Any:
        """Without a group: what it reads is assigned, and offsets are this project's."""
        return self._client("consumer", KafkaConsumer, **_READING)

    @contextmanager
    def another_consumer(self) -> Iterator[Any]:
        """A consumer like that one, for one thread and another topic; it is closed after the block."""
        consumer = _made(KafkaConsumer, proxy_url=DIRECT, **self._settings, **_READING)
        try:
            yield consumer
        finally:
            consumer.close()

    def cluster(self) -> str:
        """The id of the cluster."""
        return str(self.retried(self.admin.describe_cluster)["cluster_id"])

    def topic(self, name: str) -> dict[str, Any] | None:
        """What the brokers say of a topic (`topic_id`, `partitions`); None if there is none."""
        (found,) = self.retried(lambda: self.admin.describe_topics([name]))
        error = for_code(found["error_code"])
        if error.__name__ == "UnknownTopicOrPartitionError":
            return None
        if error is not NoError:
            raise error()
        return dict(found)

    def make_topic(self, name: str, partitions: int, configs: dict[str, str] | None = None) -> None:
        """Make a topic, if another process has not, and wait until it can be used."""
        new = NewTopic(name, partitions, self.address.replication or -1, topic_configs=configs or {})
        with suppress(TopicAlreadyExistsError):
            self.admin.create_topics([new], timeout_ms=self.address.timeout * 1000)
        self.admin.wait_for_topics([name], self.address.timeout * 1000)

    def retried(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, which is tried again after errors that pass, such as that of a broker that starts."""
        deadline = time.monotonic() + self.address.timeout
        while True:
            try:
                return call()
            except KafkaError as error:
                if not error.retriable:
                    raise
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(str(error)) from error
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Close the clients, each within the time that the address gives a broker.

        Records that are still without an answer then are given up: who sent them has waited as long, and has an error.
        """
        made, self._made = self._made, {}
        if (producer := made.pop("producer", None)) is not None:
            try:
                producer.close(timeout=self.address.timeout)
            except KafkaTimeoutError:
                _logger.warning("%s: closed without an answer to what was sent last", self.address.where)
        for client in made.values():
            client.close()

    def _client(self, name: str, make: Callable[..., Any], **settings: Any) -> Any:
        if name not in self._made:
            self._made[name] = _made(make, proxy_url=DIRECT, **self._settings, **settings)
        return self._made[name]


def _made(make: Callable[..., Any], **settings: Any) -> Any:
    """A client; one whose brokers did not answer leaves no thread and no socket, as kafka-python's own does."""
    networks: list[Any] = []

    def network(**settings: Any) -> Any:
        networks.append(KafkaNetClient(**settings))
        return networks[-1]

    try:
        return make(kafka_client=network, **settings)
    except BaseException:
        for opened in networks:
            opened.close()
        raise
