"""Run folders: what is in them, how they are made, folds of one cross-validation."""
