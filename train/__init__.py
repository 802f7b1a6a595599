"""Training: the three scripts and what they share."""
