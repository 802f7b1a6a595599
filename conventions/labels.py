"""Class ids in label maps."""

VOID = 255  # of pixels that belong to no class: neither trained on nor scored
