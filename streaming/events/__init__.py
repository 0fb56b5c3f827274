"""What an event is: its types at the edge (JSON), its columns in the log (Arrow), its JSON Schema."""
