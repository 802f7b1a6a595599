"""Flags shared by several commands of eval/."""
