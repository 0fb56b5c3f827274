"""AutoInt, compiled for the processor at hand: candidates side by side in vectors; and its attention."""
