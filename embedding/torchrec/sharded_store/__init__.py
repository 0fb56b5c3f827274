"""An `EmbeddingStore` over the processes of a group, built on the drop-in collection."""
