"""Tracing in a separate process, which runs this module and nothing of the program that started it.

(`multiprocessing` would first run the user's script again if it has no `if __name__ == "__main__"`.)
"""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from recsys.config.sections.learning.models import SECTIONS, ModelOptions
from recsys.errors import ExportError


def start(options: ModelOptions, shape: Mapping[str, Any]) -> Future[bytes]:
    """Start a process that makes the graph of `recsys.training.export.graph_tracing.trace`; a future of its bytes.

    The future raises BrokenProcessPool if the process was killed, ExportError if it failed.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="tracing")
    traced = executor.submit(_run, options, shape)
    executor.shutdown(wait=False)
    return traced


def _run(options: ModelOptions, shape: Mapping[str, Any]) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({"options": options.model_dump(mode="json"), "shape": shape}).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # Ctrl-C reaches the whole process group; this process ends after its one task anyway
    )
    if done.returncode < 0:
        raise BrokenProcessPool(f"ended by signal {-done.returncode}")
    if done.returncode:
        raise ExportError(f"the model cannot be traced:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def main() -> None:
    """Read options and shape from standard input, write the graph to standard output."""
    gc.disable()  # a tenth of the time goes into looking for garbage, which ends with the process
    import torch

    from recsys.training.export.graph_tracing import trace

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    output = os.dup(1)
    os.dup2(2, 1)  # whatever tracing prints is not part of the graph
    asked = json.load(sys.stdin)
    options = asked["options"]
    graph = trace(SECTIONS[options["name"]].model_validate(options), asked["shape"])
    with os.fdopen(output, "wb") as stream:
        stream.write(graph)


if __name__ == "__main__":
    main()
