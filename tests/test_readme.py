"""The README's session works as printed."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def session() -> list[str]:
    """The README's shell blocks that are marked as part of the session."""
    return re.findall(r"^```bash session\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_session_works_as_printed(tmp_path: Path) -> None:
    """Only the port differs, because 8000 may be taken; the server is ended at the end."""
    blocks = session()
    assert len(blocks) == 3
    port = free_port()
    script = "\n".join(["set -euo pipefail", *blocks, "kill %1; wait %1 || true"])
    script = script.replace("8000", str(port)).replace(
        "recsys check ", f"sed -i s/8000/{port}/ recsys.toml; recsys check "
    )
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    assert "0 duplicate + 0 dead-lettered" in output
    assert '"degraded":[]' in output
    assert '"item":"tea"' in output
    assert '"default"' in output  # the experiment
    assert "online@1h" in output
    assert (tmp_path / "run" / "replay" / "report.html").exists()
