"""The event log in a topic of Kafka."""
