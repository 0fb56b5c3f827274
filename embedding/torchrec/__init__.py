"""Collision-free, expiring embeddings inside TorchRec: a drop-in collection, and a store sharded over processes.

`embedding.torchrec.collection` puts our id table into an existing TorchRec model; `embedding.torchrec.sharded_store` is
the `EmbeddingStore` built on it. Importing this package loads neither torch nor TorchRec; its modules do.
"""
