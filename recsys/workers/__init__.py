"""A group of worker processes, started and restarted by Ray."""
