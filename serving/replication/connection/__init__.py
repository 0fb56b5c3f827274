"""Connections to Redis: one server, a master that Sentinel names, or a cluster."""
