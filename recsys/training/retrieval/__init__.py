"""The two-tower model while it learns, beside the ranker and from the same batches."""
