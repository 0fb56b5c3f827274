"""What changed since each consumer's last delta: marks by row, sequence numbers, and full resyncs."""
