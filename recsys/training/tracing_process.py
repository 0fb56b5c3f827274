"""Tracing in a process of its own, which runs this module and nothing of the program that started it.

(A process of `multiprocessing` would first run the script of a user who has no `if __name__ == "__main__"` once more.)
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from recsys.config.models import SECTIONS, ModelOptions
from recsys.errors import ExportError


def start(options: ModelOptions, shape: dict[str, int]) -> Future[bytes]:
    """The graph of `recsys.training.export.trace`, once the process that starts now has made it.

    The future raises BrokenProcessPool if the process was killed, ExportError if it failed.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="tracing")
    traced = executor.submit(_run, options, shape)
    executor.shutdown(wait=False)
    return traced


def _run(options: ModelOptions, shape: dict[str, int]) -> bytes:
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
    import torch

    from recsys.training.export import trace

    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    output = os.dup(1)
    os.dup2(2, 1)  # whatever is printed on the way is not part of the graph
    asked = json.load(sys.stdin)
    options = asked["options"]
    graph = trace(SECTIONS[options["name"]].model_validate(options), asked["shape"])
    with os.fdopen(output, "wb") as stream:
        stream.write(graph)


if __name__ == "__main__":
    main()
