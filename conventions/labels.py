"""Class ids in label maps."""

VOID = 255  # pixels that belong to no class: neither trained on nor scored
VOID_NAME = "void"
UNLABELLED = 254  # pixels without ground truth: cross-entropy ignores them, distillation may not
