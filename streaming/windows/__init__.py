"""Features that the stream computes: counts of events over windows of time, as of each impression."""
