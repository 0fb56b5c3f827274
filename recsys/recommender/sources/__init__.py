"""What a program has in its hands (frames, files, events) as sources of events."""
