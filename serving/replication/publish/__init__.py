"""The trainer's side: what it writes to Redis, and who may."""
