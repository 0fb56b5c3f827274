"""What listens for clients: sockets, TLS, and the signals that end it."""
