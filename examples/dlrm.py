"""TorchRec's own DLRM, learning from ids of 64 bits: the lines marked `+` are all that changes. Seconds on a CPU:

    python examples/dlrm.py

The rows are made here: whether someone clicks depends on the item and on one number, and there are more items than the
table has rows, because old ones leave and new ones come.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import _apply_optimizer_in_backward as apply_optimizer_in_backward
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor
from torchrec.datasets.utils import Batch
from torchrec.distributed import DistributedModelParallel
from torchrec.models.dlrm import DLRM, DLRMTrain
from torchrec.optim import RowWiseAdagrad

from embedding.hashing import mix
from embedding.torchrec.collection import (  # +
    CollisionFreeEmbeddingBagCollection,
    CollisionFreeSharder,
    counters,
    set_time,
)

BATCH, ROWS, HOUR = 256, 1024, 3_600_000


def batches(steps: int) -> Iterator[tuple[Batch, int]]:
    """Numbers, ids of items and contexts, clicks, and the time (ms): each hour 20 of 500 items are replaced."""
    rng = np.random.default_rng(0)
    for step in range(steps):
        items = 20 * step + rng.integers(0, 500, BATCH)
        contexts = rng.integers(0, 50, (BATCH, 2))
        numbers = rng.random((BATCH, 3), np.float32)
        liked = mix(items.astype(np.uint64)) % np.uint64(2) == 0
        clicks = rng.random(BATCH) < np.where(liked, 0.75, 0.15) * numbers[:, 0]
        ids = mix(np.concatenate([items, contexts.reshape(-1)]).astype(np.uint64)).view(np.int64)
        lengths = torch.tensor([1] * BATCH + [2] * BATCH, dtype=torch.int32)
        features = KeyedJaggedTensor(["item", "context"], torch.from_numpy(ids), lengths=lengths)
        yield Batch(torch.from_numpy(numbers), features, torch.from_numpy(clicks).float()), step * HOUR


def dlrm() -> DLRM:
    """As TorchRec's documentation writes it."""
    tables = [
        EmbeddingBagConfig(name=name, embedding_dim=8, num_embeddings=ROWS, feature_names=[name])
        for name in ("item", "context")
    ]
    sparse = EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
    apply_optimizer_in_backward(RowWiseAdagrad, sparse.parameters(), {"lr": 0.3})
    sparse = CollisionFreeEmbeddingBagCollection(sparse)  # +
    return DLRM(sparse, dense_in_features=3, dense_arch_layer_sizes=[16, 8], over_arch_layer_sizes=[16, 1])


def learn(steps: int) -> tuple[list[float], DistributedModelParallel]:
    """The loss of each batch before it is learned, and the model."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small batches
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    model: nn.Module = DLRMTrain(dlrm())
    model = DistributedModelParallel(model, device=torch.device("cpu"), sharders=[CollisionFreeSharder()])  # +
    dense = torch.optim.Adam([p for name, p in model.named_parameters() if "embedding" not in name], lr=0.01)
    losses = []
    for batch, now in batches(steps):
        set_time(model, now)  # +
        loss, _ = model(batch)
        dense.zero_grad()
        loss.backward()
        dense.step()
        losses.append(loss.item())
    return losses, model


def main() -> None:
    """Learn, and say from how many items in how many rows."""
    warnings.filterwarnings("ignore")  # TorchRec's and FBGEMM's own
    logging.disable(logging.WARNING)
    losses, model = learn(300)
    seen = counters(model, "item")
    print(f"log loss {np.mean(losses[:30]):.3f} at first, {np.mean(losses[-100:]):.3f} at last")
    print(f"items: {seen['admitted']:,} in {ROWS:,} rows, {seen['evicted']:,} of them evicted; none shared a row")


if __name__ == "__main__":
    main()
