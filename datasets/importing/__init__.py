"""What labelling tools export, brought into VOC layout: a file per format, listed in formats.py."""
