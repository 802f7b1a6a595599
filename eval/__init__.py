"""Evaluation, prediction, export and the cost of a network: what stands on models/ and datasets/."""
