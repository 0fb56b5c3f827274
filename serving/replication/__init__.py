"""From the trainer through Redis into this process: the publisher, the messages, and the threads that follow them."""
