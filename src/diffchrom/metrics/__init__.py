"""How good a prediction of log2fc is, and how sure that is: one set of metrics for all commands."""

from diffchrom.metrics.intervals import (
    Difference,
    Interval,
    bootstrap,
    paired_bootstrap,
    percentile_interval,
    student_interval,
)
from diffchrom.metrics.measures import (
    DIRECTION_THRESHOLD,
    EXPRESSED_FROM,
    METRICS,
    Metric,
    auprc,
    cells_expressing,
    evaluate,
    expressed_in_both,
    mse,
    pearson,
    pearson_of_many,
    r2,
    sign_accuracy,
    spearman,
)
from diffchrom.metrics.resampling import MIN_BLOCKS, Resamples, block_numbers

__all__ = [
    "DIRECTION_THRESHOLD",
    "EXPRESSED_FROM",
    "METRICS",
    "MIN_BLOCKS",
    "Difference",
    "Interval",
    "Metric",
    "Resamples",
    "auprc",
    "block_numbers",
    "bootstrap",
    "cells_expressing",
    "evaluate",
    "expressed_in_both",
    "mse",
    "paired_bootstrap",
    "pearson",
    "pearson_of_many",
    "percentile_interval",
    "r2",
    "sign_accuracy",
    "spearman",
    "student_interval",
]
