"""A pair of cells as arrays: its marks, labels, split, scaling, and what its genes share."""
