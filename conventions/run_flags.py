"""Saved flags of a run that do not change what it learns: runs that differ in them are alike."""

PLACES = frozenset({"datadir", "run_name", "savedate", "savedir"})
HANDLING = frozenset(
    {"cache", "deterministic", "device", "epochs_save", "iouTrain", "num_workers", "port",
     "steps_loss", "steps_plot", "teacher_val", "test_split", "visualize", "visualize_outimages"}
)  # fmt: skip
