"""Training under faults, and readers under damaged files: `python -m tests.soak --help`."""
