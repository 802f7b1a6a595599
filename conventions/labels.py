"""Class ids in label maps."""

VOID = 255  # of pixels that belong to no class: neither trained on nor scored
VOID_NAME = "void"
UNLABELLED = 254  # of pixels without a class: cross-entropy leaves them out, a teacher may not
