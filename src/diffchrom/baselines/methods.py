"""The baselines as a table, a row a method; what fits, lists and documents them walks over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffchrom.baselines.best_bins import forest_best_bins, forest_best_bins_classes
from diffchrom.baselines.cell_lines import linear_cells
from diffchrom.baselines.classes import random_forest_classes, relieff_forest_classes
from diffchrom.baselines.linear import ridge
from diffchrom.baselines.memory import cell_mean, cell_mean_shuffled, mean
from diffchrom.baselines.method import Grid, Method
from diffchrom.baselines.neural import (
    attentivechrome,
    attentivechrome_classes,
    deepchrome,
    deepchrome_cells,
    deepchrome_classes,
)
from diffchrom.baselines.ranking import ranking_network
from diffchrom.baselines.relief import relieff_forest
from diffchrom.baselines.rules import decision_list
from diffchrom.baselines.svm import svm_best_bin
from diffchrom.baselines.svr import best_bin, two_layer
from diffchrom.baselines.trees import gradient_boosting, random_forest
from diffchrom.config import DEFAULT_PRESET, PRESETS, PUBLISHED_PRESET
from diffchrom.errors import UsageError, did_you_mean

#: Bins of 100 bp averaged into one feature: 100 bp to 5 kb.
_MERGE = (1, 2, 5, 10, 20, 50)
_PENALTIES = tuple(10.0 ** (exponent / 4) for exponent in range(-4, 29))
#: Beyond C the paper left everything to scikit-learn, whose kernel had the width 1 / n_features then.
_SVR = {
    DEFAULT_PRESET: {"C": (0.1, 1.0, 10.0, 100.0), "standardise": (True,)},
    PUBLISHED_PRESET: {"C": (0.1, 1.0, 10.0, 100.0), "standardise": (False,)},
}
_RELIEFF = {
    "n_features": (50, 70, 100),
    "n_estimators": (10, 50, 100, 150, 200),
    "n_neighbors": (70,),
    "sigma": (20.0,),
}
#: One value each: nothing but the epoch is chosen.
_ATTENTIVECHROME = {
    DEFAULT_PRESET: {
        "epochs": (40,), "batch_size": (32,), "lr": (2e-3,), "patience": (10,), "dropout": (0.2,)
    },
    PUBLISHED_PRESET: {
        name: (getattr(PRESETS[PUBLISHED_PRESET], name),)
        for name in (
            "epochs", "batch_size", "lr", "patience", "dropout", "clip_norm", "transform", "standardise",
            "init_range",
        )
    },
}  # fmt: skip
#: Of a regression whose epoch is chosen by r, which knows no scale; the paper's preset leaves it as it is.
_ATTENTIVECHROME_RESCALED = _ATTENTIVECHROME | {
    DEFAULT_PRESET: {**_ATTENTIVECHROME[DEFAULT_PRESET], "rescaled": (True,)}
}
_DEEPCHROME = {
    DEFAULT_PRESET: {
        "epochs": (60,), "batch_size": (32,), "lr": (5e-4,), "patience": (15,), "rescaled": (True,)
    },
}  # fmt: skip


def _only(**grid: tuple[Any, ...]) -> dict[str, Grid]:
    """Grids of a method of which DeepDiff's paper says nothing."""
    return {DEFAULT_PRESET: grid}


_FOREST = _only(merge=(10,), n_estimators=(200,), max_features=(0.1,), min_samples_leaf=(1, 3, 10))
_BEST_BINS = _only(merge=(1,), n_estimators=(200,), max_features=(1 / 3,), min_samples_leaf=(1, 3, 10))

METHODS = {
    method.name: method
    for method in (
        Method(
            "mean",
            "mean log2fc of the training genes",
            "the least a model must beat; what it explains is nothing",
            mean,
        ),
        Method(
            "cell-mean",
            "the gene's mean over the store's other cells (needs a third cell's expression)",
            "exposes memory of genes in evaluations over several pairs",
            cell_mean,
            needs_other_cells=True,
        ),
        Method(
            "cell-mean-shuffled",
            "the same with other genes' values in the other cells",
            "what of cell-mean's r comes from A, which is in the label and in the prediction",
            cell_mean_shuffled,
            needs_other_cells=True,
        ),
        Method(
            "ridge",
            "linear, on log2 binned signal of both cells and their difference",
            "Hoerl and Kennard, Technometrics 1970",
            ridge,
            _only(merge=_MERGE, alpha=_PENALTIES),
            "training",
            whole_gene=True,
            reads_covariates=True,
        ),
        Method(
            "random-forest",
            "on the same features as ridge, 1 kb bins",
            "Breiman, Machine Learning 2001",
            random_forest,
            _FOREST,
            "training",
            whole_gene=True,
            reads_covariates=True,
            seeded=True,
        ),
        Method(
            "random-forest-classes",
            "the same, up against down; log-odds",
            "Breiman, Machine Learning 2001",
            random_forest_classes,
            _FOREST,
            "training",
        ),
        Method(
            "gradient-boosting",
            "histogram trees on the same features, stopped where the validation genes' r is highest",
            "Friedman, Annals of Statistics 2001; Ke et al., NeurIPS 2017",
            gradient_boosting,
            _only(
                merge=(10,),
                max_iter=(1000,),
                learning_rate=(0.02,),
                max_features=(0.3,),
                max_leaf_nodes=(8, 32),
            ),
            "validation",
            whole_gene=True,
            reads_covariates=True,
            seeded=True,
        ),
        Method(
            "svr-best-bin",
            "RBF support vector regression on the marks' differences of the best single bin",
            "Cheng and Gerstein, Nucleic Acids Research 2012",
            best_bin,
            _SVR,
            "training",
            uses_tes=True,
        ),
        Method(
            "svr-two-layer",
            "support vector regression on the out-of-fold predictions of every bin's regression",
            "Cheng and Gerstein, Nucleic Acids Research 2012",
            two_layer,
            _SVR,
            "training",
            uses_tes=True,
        ),
        Method(
            "svm-best-bin",
            "RBF support vector machine on the best bin's differences, up against down; decision value",
            "Cheng et al., Genome Biology 2011",
            svm_best_bin,
            _only(C=(0.1, 1.0, 10.0)),
            "training",
            uses_tes=True,
        ),
        Method(
            "forest-best-bins",
            "random forest on the bin of each mark whose change has the highest |r|",
            "Dong et al., Genome Biology 2012; Dong and Weng, Epigenomics 2013",
            forest_best_bins,
            _BEST_BINS,
            "training",
            uses_tes=True,
        ),
        Method(
            "forest-best-bins-classes",
            "the same, up against down; log-odds",
            "Dong et al., Genome Biology 2012; Dong and Weng, Epigenomics 2013",
            forest_best_bins_classes,
            _BEST_BINS,
            "training",
            uses_tes=True,
        ),
        Method(
            "relieff-rf",
            "regression ReliefF on all bins' differences, then a random forest",
            "Li et al., BMC Genomics 2015; Robnik-Sikonja and Kononenko, ICML 1997",
            relieff_forest,
            {
                DEFAULT_PRESET: {**_RELIEFF, "max_features": (1 / 3,)},
                PUBLISHED_PRESET: {**_RELIEFF, "max_features": (1.0,)},
            },
            "validation",
            seeded=True,
        ),
        Method(
            "relieff-rf-classes",
            "ReliefF for two classes, then a forest, up against down; log-odds",
            "Li et al., BMC Genomics 2015; Kononenko, ECML 1994",
            relieff_forest_classes,
            _only(
                n_features=(50, 70, 100),
                n_estimators=(10, 50, 100, 150, 200),
                n_neighbors=(10,),
                max_features=(1 / 3,),
            ),
            "validation",
        ),
        Method(
            "linear-cells",
            "a line a cell, on each mark's mean over the window; the difference of their predictions",
            "Karlic et al., PNAS 2010",
            linear_cells,
        ),
        Method(
            "ranking-network",
            "cost-sensitive Hopfield network that ranks genes above reference changes",
            "Frasca and Pavesi, IJCNN 2013",
            ranking_network,
            _only(merge=(10,), width=(0.1, 0.3, 1.0, 3.0), reference=(-1.0, 0.0, 1.0)),
            "training",
        ),
        Method(
            "decision-list",
            "rules on the marks' changes in 2 kb, up against down; log-odds",
            "Ho et al. 2015; Frank and Witten, ICML 1998",
            decision_list,
            _only(merge=(20,), max_rules=(30,), max_depth=(1, 2, 3), min_samples_leaf=(5, 20)),
            "validation",
        ),
        Method(
            "attentivechrome",
            "two single-cell regressions of log2(expression + 1); the difference of their predictions",
            "Singh et al., NeurIPS 2017",
            attentivechrome,
            _ATTENTIVECHROME_RESCALED,
            "validation",
        ),
        Method(
            "attentivechrome-classes",
            "the same, classifying expression above or below the median",
            "Singh et al., NeurIPS 2017",
            attentivechrome_classes,
            _ATTENTIVECHROME,
            "validation",
        ),
        Method(
            "deepchrome",
            "convolutional network on the difference of the signals",
            "Singh et al., Bioinformatics 2016",
            deepchrome,
            _DEEPCHROME,
            "validation",
            whole_gene=True,
        ),
        Method(
            "deepchrome-cells",
            "two single-cell convolutional networks; the difference of their predictions",
            "Singh et al., Bioinformatics 2016",
            deepchrome_cells,
            _DEEPCHROME,
            "validation",
        ),
        Method(
            "deepchrome-classes",
            "the same, classifying expression above or below the median",
            "Singh et al., Bioinformatics 2016",
            deepchrome_classes,
            _DEEPCHROME,
            "validation",
        ),
    )
}

ALL = "all"


def get_method(name: str) -> Method:
    """Return the method called `name`; UsageError lists the known ones."""
    if name not in METHODS:
        known = f"choose from {', '.join(METHODS)}, or all"
        raise UsageError(f"`method={name}`: unknown; {known}{did_you_mean(name, METHODS)}")
    return METHODS[name]


def parse_methods(text: str, preset: str = DEFAULT_PRESET) -> tuple[Method, ...]:
    """Turn ``NAME``, ``NAME,NAME`` or ``all`` into methods that have a preset, each once, in the order given.

    ``all`` is all that have it; a method that is named and doesn't is a UsageError.
    """
    able = {name: method for name, method in METHODS.items() if preset in method.grids}
    names = [name.strip() for name in text.split(",")]
    if ALL in names:
        return tuple(able.values())
    for name in names:
        if get_method(name).name not in able:
            raise UsageError(f"`preset={preset}`: {name} has none; it is of {', '.join(able) or 'no method'}")
    return tuple(able[name] for name in dict.fromkeys(names))


def check_seeds(methods: Sequence[Method], seeds: int) -> None:
    """Refuse several seeds where no method can be averaged over them."""
    if seeds > 1 and not any(method.seeded for method in methods):
        seeded = ", ".join(method.name for method in METHODS.values() if method.seeded)
        names = ", ".join(method.name for method in methods)
        raise UsageError(f"`seeds={seeds}`: {names} is not averaged over seeds; {seeded} are")
