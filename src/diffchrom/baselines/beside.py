"""Ridge beside a run of several pairs: what a linear model makes of the same pairs, pair by pair."""

from __future__ import annotations

from dataclasses import asdict, replace

from diffchrom.baselines.fitting import BESIDE, MOST_BYTES, Fitting, fit_pairs
from diffchrom.baselines.method import Context
from diffchrom.pairs.covariates import has_prior
from diffchrom.pairs.pair import signal_bytes
from diffchrom.pairs.pair_set import PairSet
from diffchrom.progress import SILENT, Reporter
from diffchrom.runs.folder import Run
from diffchrom.runs.making import seen_by
from diffchrom.runs.pair_results import read_results, save_results

#: Both orders of four pairs as large as one that ridge is fitted to unasked.
MOST_EXAMPLES = 8


def with_ridge(run: Run, pairs: PairSet, reporter: Reporter) -> Run:
    """Fit ridge to what a run learnt from, and write its r of every pair beside the run's.

    Nothing is done where it stands there already, or the signal is too large for a remark.
    """
    results = read_results(run.config.details["pairs"])
    if all(result.ridge_pearson is not None for result in results):
        return run
    if 2 * len(pairs.pairs) * signal_bytes(pairs.first) > MOST_EXAMPLES * MOST_BYTES:
        reporter.note(f"{BESIDE} is left out: the signal is large; `diffchrom baseline` fits it")
        return run
    recipe = Fitting(BESIDE, gene_prior=has_prior(run.config.covariates))
    learner = recipe.meet(
        pairs.each(lambda pair: seen_by(recipe, pair, without=pairs.held_out)).normalised(), SILENT
    )
    predictor = fit_pairs(learner.method, learner.examples, learner.learnt, Context())
    r = {",".join(judged.pair.cells): judged.pearson for judged in learner.judge(predictor, SILENT)}
    results = [replace(result, ridge_pearson=r[result.pair]) for result in results]
    details = {**run.config.details, "pairs": [asdict(result) for result in results]}
    beside = Run(run.path, replace(run.config, details=details))
    save_results(run.path, results)
    beside.save_config()
    return beside
