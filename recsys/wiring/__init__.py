"""From the configuration to the parts of the running system: the one place that builds them.

What needs torch, or a server, is imported only when it is built.
"""

from recsys.wiring.learning import exporter, learner, model, set_threads, store, tables
from recsys.wiring.publishing import ONLINE, publisher
from recsys.wiring.serving import open_scorer, server
from recsys.wiring.stream import event_log, feed, ingest, joiner, rules, sources, spec, tasks
from recsys.wiring.training import trainer

__all__ = [
    "ONLINE",
    "event_log",
    "exporter",
    "feed",
    "ingest",
    "joiner",
    "learner",
    "model",
    "open_scorer",
    "publisher",
    "rules",
    "server",
    "set_threads",
    "sources",
    "spec",
    "store",
    "tables",
    "tasks",
    "trainer",
]
