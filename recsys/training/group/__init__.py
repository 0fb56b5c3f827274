"""Several processes that train one model: the first reads the log and leads, all of them learn from every batch."""
