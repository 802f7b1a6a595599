"""Files that export.py writes for other runtimes, opened as drop-in networks."""
