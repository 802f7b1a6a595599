"""Many runs from one recipe: the parts of `train/sweep.py`."""
