"""What is counted of impressions and interactions: in Redis, and from the log."""
