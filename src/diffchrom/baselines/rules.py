"""A list of rules that tell up- from down-regulated genes (rule learning, as in Ho et al. 2015).

The learner is that of PART (Frank and Witten, ICML 1998) with scikit-learn's trees: grow a small tree, make
its surest leaf a rule, put the genes that it covers aside, and go on with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diffchrom.baselines.classes import up_and_down
from diffchrom.baselines.features import log2_difference, merges
from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Prediction,
    Predictor,
    Vector,
    require_genes,
    selection_score,
)
from diffchrom.baselines.trees import combinations
from diffchrom.errors import RunError
from diffchrom.genome.genes import Signal


@dataclass(frozen=True)
class Rule:
    """Conditions that all must hold, and what follows.

    Attributes
    ----------
    features : int64 [n_conditions]
    limits : float64 [n_conditions]
    above : bool [n_conditions]
        True where the feature must be above its limit, False where it must not be.
    log_odds : float
        Of up against down among the training genes that the rule was the first to cover.
    """

    features: npt.NDArray[np.int64]
    limits: Vector
    above: npt.NDArray[np.bool_]
    log_odds: float

    def __post_init__(self) -> None:
        """Refuse conditions that are not whole, with ValueError."""
        if self.features.ndim != 1 or not self.features.shape == self.limits.shape == self.above.shape:
            raise ValueError("conditions of a rule differ in number")
        if (self.features < 0).any():
            raise ValueError("a rule looks at no feature")

    def covers(self, values: Signal) -> npt.NDArray[np.bool_]:
        """Which genes of `values` [n_genes, n_features] meet all conditions."""
        return np.asarray(((values[:, self.features] > self.limits) == self.above).all(axis=1))


@dataclass(frozen=True)
class DecisionList:
    """Rules in order; the first that covers a gene speaks for it.

    Attributes
    ----------
    rules : the first one first.
    otherwise : log-odds of genes that none covers.
    merge : bins averaged into one feature of the difference of the signals.
    n_features : of the genes it was fitted on.
    chosen : the settings, and the rules in words.
    """

    rules: tuple[Rule, ...]
    otherwise: float
    merge: int
    n_features: int
    chosen: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse rules about features that there are not, with ValueError."""
        if self.merge < 1 or any(rule.features.max(initial=0) >= self.n_features for rule in self.rules):
            raise ValueError("a rule looks at no feature")

    def predict(self, genes: Examples) -> Prediction:
        """Predict log-odds of up against down."""
        values = log2_difference(genes, self.merge)
        if values.shape[1] != self.n_features:
            raise RunError("was fitted on other marks or windows; predict from those of the fit")
        return Prediction(_decide(self.rules, self.otherwise, values))


def _decide(rules: tuple[Rule, ...], otherwise: float, values: Signal) -> Vector:
    decided = np.full(len(values), otherwise)
    open_still = np.ones(len(values), dtype=bool)
    for rule in rules:
        covered = open_still & rule.covers(values)
        decided[covered] = rule.log_odds
        open_still &= ~covered
    return decided


def _log_odds(up: npt.NDArray[np.bool_]) -> float:
    """Log-odds with one gene more on either side."""
    return float(np.log((up.sum() + 1) / ((~up).sum() + 1)))


def _surest_leaf(tree: Any, values: Signal, up: npt.NDArray[np.bool_]) -> Rule:
    """The leaf of a fitted tree whose genes are of one class with the least doubt, as a rule."""
    leaves = tree.apply(values)
    odds = {leaf: _log_odds(up[leaves == leaf]) for leaf in np.unique(leaves).tolist()}
    node = max(odds, key=lambda leaf: (abs(odds[leaf]), -leaf))
    log_odds, nodes = odds[node], tree.tree_
    conditions = []
    while node:
        parent = int(np.flatnonzero((nodes.children_left == node) | (nodes.children_right == node))[0])
        conditions.append(
            (nodes.feature[parent], nodes.threshold[parent], nodes.children_right[parent] == node)
        )
        node = parent
    features, limits, above = zip(*reversed(conditions), strict=True)
    return Rule(
        np.array(features, np.int64), np.array(limits, np.float64), np.array(above, np.bool_), log_odds
    )


def learn_rules(
    values: Signal, up: npt.NDArray[np.bool_], *, max_rules: int, max_depth: int, min_samples_leaf: int
) -> tuple[tuple[Rule, ...], float]:
    """Learn at most `max_rules` rules of at most `max_depth` conditions; also the log-odds of the rest."""
    from sklearn.tree import DecisionTreeClassifier

    rules: list[Rule] = []
    left = np.ones(len(values), dtype=bool)
    while len(rules) < max_rules and 0 < up[left].sum() < left.sum():
        tree = DecisionTreeClassifier(max_depth=max_depth, min_samples_leaf=min_samples_leaf, random_state=0)
        tree.fit(values[left], up[left])
        if tree.tree_.node_count == 1:
            break
        rules.append(_surest_leaf(tree, values[left], up[left]))
        left &= ~rules[-1].covers(values)
    return tuple(rules), _log_odds(up[left])


def decision_list(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Learn rules on the changes of every mark in stretches; validation r chooses how fine they are."""
    genes = up_and_down(train, 2, "decision-list")
    require_genes(valid, 2, "decision-list's validation")
    (merge,) = merges(train.signal_a.shape[2], grid["merge"])
    values, held_out = log2_difference(genes, merge), log2_difference(valid, merge)
    candidates = combinations({name: choices for name, choices in grid.items() if name != "merge"})
    best: DecisionList | None = None
    with context.reporter.task("decision list", len(candidates)) as task:
        for candidate in candidates:
            rules, otherwise = learn_rules(values, genes.log2fc > 0, **candidate)
            score = selection_score(valid.log2fc, _decide(rules, otherwise, held_out))
            if best is None or score > best.chosen["valid_r"]:
                said = [_in_words(rule, train, merge) for rule in rules]
                chosen = {**candidate, "merge": merge, "valid_r": score, "rules": said}
                best = DecisionList(rules, otherwise, merge, values.shape[1], chosen)
            task.advance(1, f"{len(rules)} rules, validation r {score:.3f}")
    assert best is not None
    return best


def _in_words(rule: Rule, genes: Examples, merge: int) -> str:
    """Say a rule: changes are of log2(signal + 1), B less A, in bins counted from 1."""
    n_bins = genes.signal_a.shape[2]
    stretches = -(-n_bins // merge)
    conditions = []
    for feature, limit, above in zip(rule.features.tolist(), rule.limits, rule.above, strict=True):
        mark, number = divmod(feature, stretches)
        last = min((number + 1) * merge, n_bins)
        sign = ">" if above else "<="
        conditions.append(f"{genes.marks[mark]}:{number * merge + 1}-{last} {sign} {limit:.3g}")
    return (
        f"{' and '.join(conditions)}: {'up' if rule.log_odds > 0 else 'down'}, log-odds {rule.log_odds:.2f}"
    )
