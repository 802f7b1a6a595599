"""Conventions shared by models, datasets and losses, which do not import each other."""
