"""The README's session works as printed."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recsys.commands.demo.ports import free_port
from tests.projects import share_graphs

ROOT = Path(__file__).parents[1]


def session() -> list[str]:
    """The README's shell blocks that are marked as part of the session."""
    return re.findall(r"^```bash session\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def rankings(output: str) -> list[dict[str, Any]]:
    """The answers of /v1/rank and /v1/recommend, in order; an answer has no line end, so the next follows at once."""
    decoder, answers, at = json.JSONDecoder(), [], 0
    while (at := output.find('{"impression":', at)) >= 0:
        answer, at = decoder.raw_decode(output, at)
        answers.append(answer)
    return answers


@pytest.mark.slow
def test_the_session_works_as_printed(tmp_path: Path, graphs: Path) -> None:
    """Only the port differs, because 8000 may be taken; the server is ended at the end."""
    blocks = session()
    assert len(blocks) == 3
    port = free_port()
    script = "\n".join(["set -euo pipefail", *blocks, "kill %1; wait %1 || true"])
    script = script.replace("8000", str(port)).replace(
        "recsys check ", f"sed -i s/8000/{port}/ recsys.toml; recsys check "
    )
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    share_graphs(tmp_path / "run" / "checkpoints", graphs)
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
        output, _ = process.communicate(timeout=500)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    assert "0 duplicate + 0 dead-lettered" in output
    ranked, recommended = rankings(output)
    assert ranked["degraded"] == [], "the first ranking after the server said that it is ready"
    assert ranked["model"].startswith("online@")
    assert sorted(item["item"] for item in ranked["items"]) == ["cocoa", "coffee", "tea"]
    assert recommended["degraded"] == []
    assert len(recommended["items"]) == 2
    assert '"default"' in output  # the experiment
    assert "online@1h" in output
    assert (tmp_path / "run" / "replay" / "report.html").exists()
