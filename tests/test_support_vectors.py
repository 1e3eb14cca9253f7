"""The compiled support vector solver equals LIBSVM, and the two layers keep out-of-fold what must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel as sklearn_rbf_kernel
from sklearn.svm import SVR

from baseline_data import examples, make_store
from diffchrom.baselines import svr
from diffchrom.baselines.kernel_svr import EPSILON, SOLVER, rbf_kernel, solve_path
from diffchrom.baselines.method import Context
from diffchrom.errors import RunError, StoreError
from diffchrom.pairs.pair import Pair
from diffchrom.progress import SilentReporter

GRID = {"C": (0.1, 1.0, 10.0, 100.0), "standardise": (True,)}

needs_compiler = pytest.mark.skipif(bool(SOLVER.missing), reason=SOLVER.missing or "")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Pair.of(make_store(tmp_path_factory.mktemp("svr") / "store.h5"), ("A", "B")).load()


@pytest.fixture(scope="module")
def train(data):
    return examples(data).take(data.rows("train"))


def problem(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[: n // 5] = x[n // 5 : 2 * (n // 5)]  # real bins hold many equal genes
    return x, np.sin(x[:, 0]) + 0.3 * x[:, 1] + rng.normal(size=n) * 0.5


def test_the_kernel_equals_sklearns():
    x, _ = problem()
    expected = sklearn_rbf_kernel(x[:290], x[:270], gamma=0.3)
    np.testing.assert_allclose(rbf_kernel(x[:290], x[:270], 0.3), expected, atol=2e-6)


def test_the_kernel_of_read_counts_is_exact_in_double_precision():
    counts = (
        np.random.default_rng(0).poisson(np.random.default_rng(1).gamma(0.3, 2000, (200, 5))).astype(float)
    )
    counts[1::2] = counts[::2] + 1  # a near gene for each, far from zero
    expected = sklearn_rbf_kernel(counts, gamma=0.2)
    np.testing.assert_allclose(rbf_kernel(counts, counts, 0.2, np.float64), expected, atol=1e-6)
    assert np.abs(rbf_kernel(counts, counts, 0.2) - expected).max() > 1e-3


@needs_compiler
@pytest.mark.parametrize("seed", [0, 1])
def test_the_compiled_solver_equals_libsvm_on_training_and_held_out_genes(seed):
    x, y = problem(seed=seed)
    active = np.arange(len(y)) % 4 != 0
    kernel = rbf_kernel(x, x, 0.25)
    for penalty, ours in zip(GRID["C"], solve_path(kernel, y, active, GRID["C"], library=False), strict=True):
        model = SVR(C=penalty, gamma=0.25, epsilon=EPSILON, tol=1e-5).fit(x[active], y[active])
        np.testing.assert_allclose(ours.fitted, model.predict(x), atol=0.01)
        assert (ours.beta[~active] == 0).all()
        assert (np.abs(ours.beta) <= penalty).all()
        assert ours.beta.sum() == pytest.approx(0, abs=1e-9)
        assert ours.converged


@needs_compiler
def test_the_solution_meets_the_optimality_conditions():
    x, y = problem()
    penalty = 10.0
    (ours,) = solve_path(rbf_kernel(x, x, 0.25), y, np.ones(len(y), dtype=bool), (penalty,), library=False)
    residual = y - ours.fitted
    slack = 2e-3
    inside = ours.beta == 0
    assert (np.abs(residual[inside]) <= EPSILON + slack).all()
    free = ~inside & (np.abs(ours.beta) < penalty)
    assert free.any()
    np.testing.assert_allclose(residual[free], EPSILON * np.sign(ours.beta[free]), atol=slack)
    bound = np.abs(ours.beta) == penalty
    assert (residual[bound] * np.sign(ours.beta[bound]) >= EPSILON - slack).all()


def test_sklearn_takes_the_solvers_place_where_none_was_built():
    x, y = problem(120)
    active = np.arange(len(y)) % 3 != 0
    kernel = rbf_kernel(x, x, 0.25)
    (ours,) = solve_path(kernel, y, active, (1.0,), library=True)
    model = SVR(C=1.0, gamma=0.25, epsilon=EPSILON).fit(x[active], y[active])
    np.testing.assert_allclose(ours.fitted, model.predict(x), atol=0.005)


@needs_compiler
def test_a_constant_kernel_and_a_repeated_gene_end_well():
    y = np.random.default_rng(0).normal(size=50)
    (ours,) = solve_path(np.ones((50, 50), np.float32), y, np.ones(50, dtype=bool), (100.0,), library=False)
    assert np.ptp(ours.fitted) < 1e-3
    assert abs(np.median(y - ours.fitted)) < 0.3


def test_out_of_fold_predictions_do_not_see_their_own_label(train):
    signal = svr.flanking_bins(train, with_tes=False)[:, :, 10]
    kernel = rbf_kernel(signal, signal, 0.3)
    folds = svr.fold_numbers(len(train), 0)
    before = svr.choose_penalty(kernel, train.log2fc, folds, (1.0,)).out_of_fold
    changed = train.log2fc.copy()
    changed[folds == 2] += 100
    after = svr.choose_penalty(kernel, changed, folds, (1.0,)).out_of_fold
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])


def test_bins_flank_the_tss_and_the_transcripts_end(train):
    n, m = len(train), len(train.marks)
    wide = replace(
        train,
        signal_a=np.zeros((n, m, 200), np.float32),
        signal_b=np.tile(np.arange(200, dtype=np.float32), (n, m, 1)),
    )
    assert svr.flanking_bins(wide, with_tes=False)[0, 0].tolist() == list(range(20, 180))
    both = replace(wide, tes_a=wide.signal_a, tes_b=wide.signal_b + 1000)
    assert svr.flanking_bins(both, with_tes=True)[0, 0].tolist() == [*range(60, 140), *range(1060, 1140)]


def test_a_killed_fit_goes_on_at_the_finished_bin(train, tmp_path, monkeypatch):
    grid = {**GRID, "C": (1.0,)}
    reference = svr.fit_bins(train, grid, Context())
    done = []
    honest = svr.choose_penalty

    def killed(*args):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(1)
        return honest(*args)

    monkeypatch.setattr(svr, "KEPT_EVERY", -1.0)
    monkeypatch.setattr(svr, "choose_penalty", killed)
    with pytest.raises(KeyboardInterrupt):
        svr.fit_bins(train, grid, Context(folder=tmp_path))
    kept = sorted(tmp_path.glob("bin-*.safetensors"))
    assert 1 <= len(kept) <= 7
    kept[0].write_bytes(kept[0].read_bytes()[:100])  # a damaged piece is fitted again

    notes, fitted = [], []
    monkeypatch.setattr(svr, "choose_penalty", lambda *args: fitted.append(1) or honest(*args))
    reporter = SilentReporter()
    reporter.note = notes.append
    resumed = svr.fit_bins(train, grid, Context(folder=tmp_path, reporter=reporter))
    assert len(fitted) == len(reference.bins) - len(kept) + 1
    assert f"going on after {len(kept) - 1} of" in notes[0]
    for one, other in zip(resumed.bins, reference.bins, strict=True):
        np.testing.assert_array_equal(one.fit.beta, other.fit.beta)


def test_bins_that_take_no_time_are_not_written(train, tmp_path):
    svr.fit_bins(train, GRID, Context(folder=tmp_path))
    assert not list(tmp_path.iterdir())


def test_fewer_genes_than_the_folds_need_is_refused(train):
    with pytest.raises(StoreError, match="5 folds needs at least 10 genes"):
        svr.fit_bins(train.take(slice(0, 9)), GRID, Context())


def test_a_fit_predicts_from_the_windows_it_was_fitted_on_and_no_others(train):
    ends = {"tes_a": train.signal_a[:, :, ::-1].copy(), "tes_b": train.signal_b[:, :, ::-1].copy()}
    both = replace(train, **ends)
    with_ends = svr.best_bin(both, both, {**GRID, "C": (1.0,)}, Context())
    assert len(with_ends.predict(both).log2fc) == len(train)
    with pytest.raises(RunError, match=r"prepare_store\(regions=tes_bins\)"):
        with_ends.predict(train)
    without = svr.best_bin(train, train, {**GRID, "C": (1.0,)}, Context())
    np.testing.assert_array_equal(without.predict(both).log2fc, without.predict(train).log2fc)
