"""What the papers report, and how they counted."""
