"""Import of labelling tools' exports into VOC layout: a file per format, listed in formats.py."""
