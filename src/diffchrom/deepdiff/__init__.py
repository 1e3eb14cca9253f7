"""The DeepDiff models: architecture, losses, training, prediction and its uncertainty."""
