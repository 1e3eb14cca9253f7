"""What `import diffchrom` offers: the commands' own words as functions, for notebooks and scripts.

Nothing here computes: every name leads to what the commands call.
"""
