"""Methods that DeepDiff is compared with, on the same store, pair, split and metrics (docs/methods.md)."""
