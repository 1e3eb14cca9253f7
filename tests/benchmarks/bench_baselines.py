"""Time the baselines at full size on the segmentation pair (docs/performance.md).

    python tests/benchmarks/bench_baselines.py [--genes 10000] [--bins 160] [--method ridge,relieff-rf,...]

Prints one TSV row a measurement: wall seconds, CPU seconds of this process and its threads, and the CPU
seconds spread over two cores, which a busy machine disturbs less than the wall clock. With fewer `--bins`
than 160 the SVR rows are scaled to 160: bins are fitted independently of each other.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from diffchrom.baselines import svr
from diffchrom.baselines.features import Scaler
from diffchrom.baselines.kernel_svr import EPSILON, rbf_kernel, solve_path
from diffchrom.baselines.linear import PairFeatures, fit_ridge
from diffchrom.baselines.method import Context, Examples
from diffchrom.baselines.methods import get_method, parse_methods
from diffchrom.metrics import bootstrap
from diffchrom.pairs.pair import Pair
from diffchrom.processes.machine import available_threads
from diffchrom.store.store import Store

PROJECT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("DIFFCHROM_SHARED_DATA", PROJECT.parent / "shared" / "data"))
PUBLISHED_BINS = 160


def prepare(store: Path) -> None:
    """Make the store of the segmentation pair, E116 and E127."""
    tracks = sorted(map(str, (SHARED / "segmentation").glob("*.bw")))
    command = [sys.executable, "-m", "diffchrom", "prepare", "--store", str(store), "--bigwigs", *tracks]
    command += ["--gtf", str(SHARED / "gtf" / "roadmap_genes_hg19.gtf.gz")]
    command += ["--expression", str(SHARED / "expression" / "roadmap_rpkm.tsv.gz"), "--quiet"]
    subprocess.run(command, check=True)


def timed(name: str, genes: int, work: Callable[[], object], scale: float = 1.0) -> None:
    """Run `work` once and print its row."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = (time.perf_counter() - wall) * scale, (time.process_time() - cpu) * scale
    print(f"{name}\t{genes}\t{wall:.1f}\t{cpu:.1f}\t{cpu / 2:.1f}", flush=True)


def narrow(examples: Examples, bins: int) -> Examples:
    """Keep so many bins, spread evenly over the 160 that the SVR methods use."""
    first = examples.n_bins // 2 - PUBLISHED_BINS // 2
    columns = first + np.linspace(0, PUBLISHED_BINS - 1, bins).astype(int)
    signal_a, signal_b = (signal[:, :, columns] for signal in (examples.signal_a, examples.signal_b))
    return replace(examples, n_bins=bins, signal_a=signal_a, signal_b=signal_b)


def alternating(rounds: int, genes: int, **works: Callable[[], object]) -> None:
    """Run works in turn, and print the medians of their CPU seconds and what they take of the first's."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.process_time()
            work()
            seconds[name].append(time.process_time() - started)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name}\t{genes}\t-\t{median:.2f}\t{median / first:.1f} times", flush=True)


def against_ridge_cv(train: Examples, rounds: int) -> None:
    """Ridge of every number of merged bins with all penalties, beside scikit-learn's RidgeCV."""
    from sklearn.linear_model import RidgeCV

    grid = get_method("ridge").grid()
    for merge in reversed(grid["merge"]):
        features = PairFeatures.fit(train, merge).apply(train)
        ours = fit_ridge(features, train.log2fc, grid["alpha"])
        theirs = RidgeCV(grid["alpha"]).fit(features, train.log2fc)
        difference = np.abs(ours.coefficients - theirs.coef_).max() / np.abs(theirs.coef_).max()
        same = "the same" if ours.alpha == theirs.alpha_ else "ANOTHER"
        print(f"{merge} bins merged, {features.shape[1]} features: {same} penalty, within {difference:.0e}")
        alternating(
            rounds,
            len(train),
            ridge=partial(fit_ridge, features, train.log2fc, grid["alpha"]),
            RidgeCV=partial(RidgeCV(grid["alpha"]).fit, features, train.log2fc),
        )


def against_libsvm(train: Examples, rounds: int) -> None:
    """One bin, one fold, the published C: the compiled solver beside scikit-learn's SVR, two ways."""
    from sklearn.svm import SVR

    signal = svr.flanking_bins(train, with_tes=False)[:, :, 75]
    features = Scaler.fit(signal).apply(signal)
    labels = (train.log2fc - train.log2fc.mean()) / train.log2fc.std()
    active = svr.fold_numbers(len(train), 0) != 0
    penalties = get_method("svr-two-layer").grid()["C"]
    gamma = 1 / features.shape[1]
    kernel = rbf_kernel(features, features, gamma)

    def computing_it() -> None:
        for penalty in penalties:
            model = SVR(C=penalty, gamma=gamma, epsilon=EPSILON, cache_size=1000)
            model.fit(features[active], labels[active]).predict(features[~active])

    solve = partial(solve_path, kernel, labels, active, penalties)
    ours, theirs = solve(library=False), solve(library=True)
    difference = max(np.abs(one.fitted - other.fitted).max() for one, other in zip(ours, theirs, strict=True))
    print(f"support vectors: standardised predictions within {difference:.4f}")
    alternating(
        rounds,
        len(train),
        compiled=partial(solve, library=False),
        precomputed=partial(solve, library=True),
        kernel=partial(rbf_kernel, features, features, gamma),
        libsvm=computing_it,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--genes", type=int, default=10_000, help="training genes (ridge takes all)")
    parser.add_argument("--bins", type=int, default=PUBLISHED_BINS, help="bins of the SVR methods")
    parser.add_argument("--method", default="ridge,relieff-rf,svr-two-layer,random-forest,gradient-boosting")
    parser.add_argument(
        "--rounds", type=int, default=3, help="of what stands beside scikit-learn; 0 for none"
    )
    parser.add_argument("--store", type=Path, help="an existing store of E116 and E127")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"real data not found at {SHARED} (set DIFFCHROM_SHARED_DATA)")
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "segmentation.h5"
        if not path.exists():
            prepare(path)
        data = Pair.of(Store(path), ("E116", "E127")).load()
        signal = data.signal_a, data.signal_b
        every = Examples(data.marks, data.layout.n_bins, *signal, data.log2fc, data.expr_a, data.expr_b)
        train, valid = every.take(data.rows("train")), every.take(data.rows("valid"))
        some = train.take(np.random.default_rng(0).permutation(len(train))[: arguments.genes])
        context = Context(threads=available_threads())
        print("what\tgenes\twall_s\tcpu_s\tcpu_s_by_2_cores")
        predicted = train.log2fc + np.random.default_rng(0).normal(size=len(train))
        n = min(3000, len(train))
        timed("bootstrap, all metrics", n, lambda: bootstrap(train.log2fc[:n], predicted[:n]))
        if arguments.rounds:
            against_ridge_cv(train, arguments.rounds)
            against_libsvm(some, arguments.rounds)
        for method in parse_methods(arguments.method) if arguments.method else ():
            used, scale = (train if method.name == "ridge" else some), 1.0
            if method.name.startswith("svr"):
                used, scale = narrow(some, arguments.bins), PUBLISHED_BINS / arguments.bins
            timed(
                method.name,
                len(used),
                lambda method=method, used=used: method.fit(used, valid, method.grid(), context),
                scale,
            )


if __name__ == "__main__":
    main()
