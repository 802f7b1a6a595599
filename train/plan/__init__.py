"""From a data set to a distilled student: what `train/pipeline.py` is made of."""
