"""Many runs from one recipe: what `train/sweep.py` is made of."""
