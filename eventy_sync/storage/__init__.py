"""What a queue keeps on disk: the log of events and the state store."""
