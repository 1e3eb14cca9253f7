"""A store in which two marks drive expression, and small grids, for the tests of the baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffchrom.baselines.method import Examples, Method
from diffchrom.baselines.methods import get_method
from diffchrom.config import DEFAULT_PRESET
from diffchrom.genome.genes import Genes, Window
from diffchrom.genome.layout import Layout
from diffchrom.genome.regions import TSS, region_of
from diffchrom.store import store as stores
from diffchrom.store.store import Store

MARKS = ("H3K4me3", "H3K27me3", "H3K9me3")
N_GENES, N_BINS = 150, 20
WINDOW = Window(flank=1000, bin_size=100)
LAYOUT = Layout((region_of(TSS, WINDOW),), WINDOW.orient)

#: Grids small enough for a test; the code that walks over them is the same.
SMALL = {
    "random-forest": {
        "merge": (5,),
        "n_estimators": (30,),
        "max_features": (0.5,),
        "min_samples_leaf": (1, 3),
    },
    "gradient-boosting": {
        "merge": (5,),
        "max_iter": (40,),
        "learning_rate": (0.1,),
        "max_features": (0.5,),
        "max_leaf_nodes": (4,),
    },
    "random-forest-classes": {"merge": (5,), "n_estimators": (30,), "min_samples_leaf": (1, 3)},
    "forest-best-bins": {"n_estimators": (30,), "min_samples_leaf": (1, 3)},
    "forest-best-bins-classes": {"n_estimators": (30,), "min_samples_leaf": (1, 3)},
    "relieff-rf-classes": {"n_features": (5, 20), "n_estimators": (5, 20)},
    "ranking-network": {"merge": (5,)},
    "decision-list": {"merge": (5,), "max_rules": (10,), "min_samples_leaf": (3,)},
    "svm-best-bin": {"C": (1.0,)},
    "deepchrome-classes": {"epochs": (5,), "patience": (5,), "batch_size": (10,), "lr": (1e-3,)},
    "svr-best-bin": {"C": (0.1, 10.0)},
    "svr-two-layer": {"C": (0.1, 10.0)},
    "attentivechrome": {"epochs": (5,), "patience": (5,), "batch_size": (10,), "lr": (0.02,), "hidden": (8,)},
    "attentivechrome-classes": {
        "epochs": (5,),
        "patience": (5,),
        "batch_size": (10,),
        "lr": (0.02,),
        "hidden": (8,),
    },
    "deepchrome": {"epochs": (5,), "patience": (5,), "batch_size": (10,), "lr": (1e-3,)},
    "deepchrome-cells": {"epochs": (5,), "patience": (5,), "batch_size": (10,), "lr": (1e-3,)},
    "relieff-rf": {
        "n_features": (5, 20),
        "n_estimators": (5, 20),
        "max_features": (0.5,),
        "n_neighbors": (20,),
        "sigma": (10.0,),
    },
}
#: Methods whose prediction must follow the signal of these data (the others don't look at it).
BLIND = ("mean", "cell-mean", "cell-mean-shuffled")


def small(name: str, preset: str = DEFAULT_PRESET) -> Method:
    """The method with what is small in `SMALL` in place of the preset's own."""
    method = get_method(name)
    return replace(method, grids={DEFAULT_PRESET: {**method.grid(preset), **SMALL.get(name, {})}})


def make_store(path, *, n_genes=N_GENES, cells=("A", "B", "C"), unit="tpm", seed=0) -> Store:
    """Expression of every cell rises with H3K4me3 and falls with H3K27me3 in the middle of the window."""
    rng = np.random.default_rng(seed)
    text = np.array([f"gene{i}" for i in range(n_genes)], dtype=object)
    start = np.arange(n_genes, dtype=np.int64) * 5000 + 5000
    strand = np.where(np.arange(n_genes) % 2 == 0, "+", "-").astype(object)
    minus = strand == "-"
    genes = Genes(
        text,
        text,
        np.full(n_genes, "chr1", dtype=object),
        strand,
        start,
        start + 1000,
        np.where(minus, start + 999, start),
        np.where(minus, start, start + 999),
    )
    store = stores.create(path, genes, WINDOW)
    with store.edit() as editor:
        for cell in cells:
            level = rng.gamma(1.0, 2.0, size=(n_genes, len(MARKS), 1))
            signal = rng.poisson(level * np.ones(N_BINS)).astype(np.float32)
            drive = 2 * np.log2(level[:, 0, 0] + 1) - np.log2(level[:, 1, 0] + 1)
            expression = np.maximum(2 ** (drive + rng.normal(size=n_genes) * 0.3 + 3) - 1, 0)
            for j, mark in enumerate(MARKS):
                editor.add_signal(cell, mark, signal[:, j])
            editor.add_expression(cell, unit, expression)
        editor.add_split("random", rng.permutation(np.repeat([0, 1, 2], n_genes // 3)).astype(np.int8))
    return store


def examples(data, **changes) -> Examples:
    values = {
        "marks": data.marks,
        "n_bins": data.layout.n_bins,
        "signal_a": data.signal_a,
        "signal_b": data.signal_b,
        "log2fc": data.log2fc,
        "expr_a": data.expr_a,
        "expr_b": data.expr_b,
        "change_elsewhere": np.zeros(len(data)),
        "change_to_others": np.ones(len(data)),
    }
    return Examples(**(values | changes))
