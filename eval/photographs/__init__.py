"""Images and videos in, label maps out."""
