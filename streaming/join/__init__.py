"""From impressions and interactions to labels, in event time and bounded memory."""
