"""Class ids in label maps."""

VOID = 255  # of pixels that belong to no class: neither trained on nor scored
UNLABELLED = 254  # of pixels whose class nobody has told: a teacher may, cross-entropy may not
