"""What a model looked at: attention, attribution and perturbation, as files, groups and figures."""
