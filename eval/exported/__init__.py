"""Files that export.py writes for other runtimes, opened in the place of a network."""
