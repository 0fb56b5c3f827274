"""A real Kafka broker on 127.0.0.1 without a container: `python deploy/kafka/broker.py [PORT]`, or `make kafka`.

Needs Java 17 or newer, and Maven to download the broker once, to build/kafka (54 MB).
"""

from __future__ import annotations

import base64
import fcntl
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from recsys.commands.demo.ports import free_ports

HERE = Path(__file__).parent
JARS = HERE.parents[1] / "build" / "kafka" / "jars"
PACKAGES = "openjdk-17-jre-headless maven"
_WAIT = 120
ARCHIVE = JARS.parent / "classes.jsa"
"""The broker's classes as the Java here keeps them loaded: with it a broker starts in half the time."""
_SETTINGS = ["-Xmx512m", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
_SETTINGS += ["-Xlog:disable", "-Xlog:all=warning:stderr"]  # what the programs of Kafka print is all of their stdout


def missing() -> list[str]:
    """The programs that are needed and not installed."""
    needed = ["java"] if _complete() else ["java", "mvn"]
    return [program for program in needed if shutil.which(program) is None]


def _complete() -> bool:
    return (JARS / "complete").exists()


def download() -> None:
    """The broker's files from Maven, and the archive of its classes, unless they are here."""
    if _complete() and ARCHIVE.exists():
        return
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in several processes may be here together
        if not _complete():
            _copy()
        if not ARCHIVE.exists():
            _archive()


def _copy() -> None:
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
    subprocess.run(["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), *goal], check=True)
    (JARS / "complete").touch()


def _archive() -> None:
    """Run a broker once, whose Java writes what it has loaded when it ends. Another Java ignores the file."""
    written = ARCHIVE.with_suffix(".part")
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder), prepared=True)
        broker.start([f"-XX:ArchiveClassesAtExit={written}"])
        broker.kill(signal.SIGTERM)
    if written.exists():
        written.replace(ARCHIVE)


def java(main_class: str, arguments: Iterable[str], options: Iterable[str] = ()) -> list[str]:
    """The command that runs a class of Kafka."""
    shared = [f"-XX:SharedArchiveFile={ARCHIVE}"] if ARCHIVE.exists() else []
    return ["java", *_SETTINGS, *shared, *options, "-cp", f"{JARS}/*", main_class, *arguments]


class Broker:
    """One broker with its data in `folder`; `start` after `kill` gives the same one. Its log is FOLDER/broker.log.

    `settings` replace those of server.properties; brokers that form a `cluster` have its id. `prepared`: what
    `download` brings is here.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        cluster: str = "",
        prepared: bool = False,
    ) -> None:
        if not prepared:
            download()
        self.folder = folder
        self.port = port or free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = folder / "server.properties"
        if not self._properties.exists():
            self._format(settings or {}, cluster or new_id())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self, options: Iterable[str] = ()) -> None:
        """Returns when the broker takes connections."""
        self.launch(options)
        self.await_start()

    def launch(self, options: Iterable[str] = ()) -> None:
        """Start the process, with `options` for Java."""
        with (self.folder / "broker.log").open("ab") as log:
            command = java("kafka.Kafka", [str(self._properties)], options)
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def await_start(self) -> None:
        """Until the launched broker takes connections."""
        deadline = time.monotonic() + _WAIT
        while not self.listens():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start; see {self.folder / 'broker.log'}")
            time.sleep(0.05)

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """End the broker; with SIGKILL without a chance to store anything."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait()
            self._process = None

    def wait(self) -> None:
        """Until the broker ends."""
        if self._process is not None:
            self._process.wait()

    def _format(self, settings: Mapping[str, str], cluster: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = (HERE / "server.properties").read_text()
        controller = next(one for one in free_ports(2) if one != self.port)
        for name, value in (("CONTROLLER_PORT", controller), ("PORT", self.port), ("FOLDER", self.folder.resolve())):
            text = text.replace(name, str(value))
        # of a name that is there twice, Kafka takes the last value
        self._properties.write_text(text + "".join(f"{name}={value}\n" for name, value in settings.items()))
        command = java("kafka.tools.StorageTool", ["format", f"--cluster-id={cluster}", "-c", str(self._properties)])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka cannot make its folder {self.folder}:\n{done.stdout}{done.stderr}")

    def listens(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def new_id() -> str:
    """Of a cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def main() -> None:
    if lacking := missing():
        sys.exit(f"{' and '.join(lacking)} not found; install {PACKAGES}")
    broker = Broker(JARS.parent / "broker", int(sys.argv[1]) if len(sys.argv) > 1 else 9092)
    broker.start()
    print(f"Kafka listens on {broker.address}; its data is in {broker.folder}. In recsys.toml:\n\n[log]")
    print(f'url = "kafka://{broker.address}/clicks"\n\nCtrl-C ends it.', flush=True)
    try:
        broker.wait()
    except KeyboardInterrupt:
        broker.kill(signal.SIGTERM)


if __name__ == "__main__":
    main()
