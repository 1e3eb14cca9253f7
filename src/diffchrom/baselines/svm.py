"""A support vector machine a bin that tells up- from down-regulated genes (Cheng et al. 2011)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffchrom.baselines.classes import up_and_down
from diffchrom.baselines.features import Scaler
from diffchrom.baselines.method import Context, Examples, Grid, Matrix, Predictor, Vector
from diffchrom.baselines.svr import FOLDS, BestBin, SupportVectors, flanking_bins, fold_numbers, has_tes
from diffchrom.metrics import METRICS

_SEPARATION = METRICS["auroc"]


def svm_best_bin(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Fit a machine for each bin and C; the out-of-fold area under the ROC curve chooses both.

    What it predicts is the decision value: the distance from the boundary, in units of the margin.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    genes = up_and_down(train, FOLDS, "svm-best-bin")
    with_tes = has_tes(genes)
    signal = flanking_bins(genes, with_tes)
    folds = _folds_of_classes(genes.log2fc, context.seed)

    def score(number: int, penalty: float) -> tuple[float, int, float]:
        scaled = Scaler.fit(signal[:, :, number]).apply(signal[:, :, number])
        held_out = np.empty(len(genes))
        for fold in range(FOLDS):
            inside = folds == fold
            model = _machine(penalty).fit(scaled[~inside], genes.log2fc[~inside])
            held_out[inside] = model.decision_function(scaled[inside])
        return _SEPARATION(2 * genes.log2fc - 1, held_out), -number, -penalty

    tried = [(number, penalty) for number in range(signal.shape[2]) for penalty in grid["C"]]
    best = (-1.0, 0, 0.0)
    with context.reporter.task("SVM a bin", len(tried)) as task, threadpool_limits(limits=1):
        parallel = Parallel(n_jobs=context.threads, backend="threading", return_as="generator")
        for result in parallel(delayed(score)(*one) for one in tried):
            best = max(best, result)
            task.advance(1, f"bin {1 - result[1]}: AUROC {result[0]:.3f}")
    number, penalty = -best[1], -best[2]
    scaler = Scaler.fit(signal[:, :, number])
    model = _machine(penalty).fit(scaler.apply(signal[:, :, number]), genes.log2fc)
    support = SupportVectors(
        scaler,
        model.support_vectors_.astype(np.float32),
        model.dual_coef_[0].astype(np.float32),
        float(model.intercept_[0]),
    )
    chosen = {"bin": number + 1, "C": penalty, "out_of_fold_auroc": best[0]}
    return BestBin(number, support, with_tes, 0.0, 1.0, chosen)


def _machine(penalty: float) -> Any:
    from sklearn.svm import SVC

    return SVC(C=penalty, gamma="auto", cache_size=500)


def _folds_of_classes(classes: Vector, seed: int) -> Matrix:
    """Fold of each gene, both classes dealt evenly."""
    folds = np.empty(len(classes))
    for number in (0, 1):
        members = classes == number
        folds[members] = fold_numbers(int(members.sum()), seed + number)
    return folds
