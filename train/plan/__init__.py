"""From a data set to a distilled student: the parts of `train/pipeline.py`."""
