"""What the processes of `tests.forking` begin with: PyTorch, TorchRec, the trainer and the compiled kernels."""

import numpy as np

from embedding.local.store import LocalStore
from embedding.store import Optimizer, Table
from embedding.torchrec.processes import routing
from embedding.torchrec.sharded_store import store  # noqa: F401
from recsys.training import trainer  # noqa: F401
from recsys.wiring import online_training  # noqa: F401

_ids = np.arange(3, dtype=np.uint64)
routing.restore(routing.scatter(_ids))
_store = LocalStore([Table("t", 4, ttl=0, optimizer=Optimizer("adagrad"))])
_store.subscribe("c")
_store.lookup("t", _ids, 0)
_store.delta("c")
_store.expire(60_000)
_store.digest()
