"""A small data set whose answer is known, and every step of diffchrom run on it."""
