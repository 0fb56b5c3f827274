"""The server's side: how a process keeps up with what trainers write to Redis."""
