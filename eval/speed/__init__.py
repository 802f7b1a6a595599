"""Times and memory: how they are measured, what is promised, how they are shown."""
