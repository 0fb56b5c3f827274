"""Learning online as if impressions had been drawn at random."""
