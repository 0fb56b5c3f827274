"""Online training: from batches to a learned model, its checkpoints, and what it publishes to serving."""
