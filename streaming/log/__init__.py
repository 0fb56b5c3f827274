"""Where events are stored in order: the `EventLog` seam, its implementations, and reading several partitions as one."""
