"""Evaluation, prediction, export and the cost of a network, on top of models and datasets."""
