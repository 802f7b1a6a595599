"""What models, datasets and losses agree on without knowing each other: below them all."""
