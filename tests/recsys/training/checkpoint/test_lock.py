"""One process a folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import CheckpointError
from recsys.training.checkpoint.lock import exclusive

HOLD = """
import sys
from pathlib import Path
from recsys.training.checkpoint.lock import exclusive
with exclusive(Path(sys.argv[1]), ""):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone_even_by_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        message = rf"in use by process {other.pid} \(-c {tmp_path}\): go away"
        with pytest.raises(CheckpointError, match=message), exclusive(tmp_path, "go away"):
            pass
        os.kill(other.pid, signal.SIGKILL)
    assert other.returncode == -signal.SIGKILL
    with exclusive(tmp_path, ""):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} (")


def test_a_second_one_in_this_process_is_refused(tmp_path: Path) -> None:
    message = "in use by another trainer of this process"
    with exclusive(tmp_path, ""), pytest.raises(CheckpointError, match=message), exclusive(tmp_path, ""):
        pass


def test_it_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "new", ""):
            pass
