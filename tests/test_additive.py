"""The default variant: what marks and windows contribute passes through their attention, and adds up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from torch import Tensor

from conftest import called, training
from diffchrom.config import hyperparameters
from diffchrom.deepdiff.additive import Additive, lasso, windows_of_bins
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.model import MAIN
from diffchrom.deepdiff.opened import open_model
from diffchrom.demo.simulate import RULES, simulate
from diffchrom.genome.genes import Window
from diffchrom.genome.layout import layout_of
from diffchrom.genome.regions import DEFAULT_REGIONS, region_of
from diffchrom.pairs.pair import Pair
from diffchrom.prepare.building import PrepareRequest, prepare
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

LAYOUT = layout_of(Window(), DEFAULT_REGIONS)
N_MARKS, N = 3, 7
QUICK = hyperparameters("default", "additive", hidden=8, epochs=3, ensemble=2)


def random_model(seed: int = 0, order: float = 1.0) -> Additive:
    """A model all of whose weights are random, the zeros that training starts from too."""
    torch.manual_seed(seed)
    model = build_model(VARIANTS["additive"], N_MARKS, hyperparameters("default", "additive"), LAYOUT)
    assert isinstance(model, Additive)
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
    model.set_order(order)
    return model.eval()


def signal(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.rand(N, N_MARKS, LAYOUT.n_windows, generator=generator)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_contributions_and_the_shift_are_the_whole_prediction(seed: int) -> None:
    a, b = signal(seed), signal(seed + 1)
    with torch.no_grad():
        own, other = random_model(seed)(a, b), random_model(seed, order=0.0)(a, b)
    torch.testing.assert_close(other.contribution.sum(dim=(1, 2)), other.log2fc, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(own.contribution, other.contribution)
    assert (own.log2fc - other.log2fc).abs().min() > 0  # the shift is of the trained pair alone


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_exchanging_the_cells_negates_prediction_and_contributions_and_keeps_attention(seed: int) -> None:
    a, b = signal(seed), signal(seed + 1)
    model = random_model(seed)
    with torch.no_grad():
        forward = model(a, b)
        model.set_order(-1.0)
        backward = model(b, a)
    torch.testing.assert_close(forward.log2fc, -backward.log2fc, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(forward.contribution, -backward.contribution, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(forward.alpha, backward.alpha, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(forward.expression["A"], backward.expression["B"])


def test_training_starts_from_the_linear_model_with_the_least_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 9, generator=generator, dtype=torch.float64)
    noise = torch.randn(60, generator=generator, dtype=torch.float64)
    truth = features[:, 0] - 2 * features[:, 3] + 1 + noise
    size = features.abs().mean(dim=0)
    weights, mean = lasso(features, truth, 0.3)
    # scikit-learn's penalises weights alike: of scaled features, that is ours; its error is halved.
    reference = Lasso(alpha=0.15, fit_intercept=False, tol=1e-10).fit(features / size, truth - truth.mean())
    np.testing.assert_allclose(weights * size, reference.coef_, atol=1e-5)
    assert mean == pytest.approx(float(truth.mean()))
    assert (weights == 0).sum() >= 4


def test_a_window_without_difference_contributes_nothing() -> None:
    a = signal(3)
    b = a.clone()
    body = LAYOUT.spans["body"].start + 4
    b[:, 1, body] += 2.0
    with torch.no_grad():
        contribution = random_model()(a, b).contribution
    assert contribution[:, 1, body].abs().min() > 0
    contribution[:, 1, body] = 0
    assert contribution.abs().max() == 0


def test_attention_sums_to_one_over_all_regions_and_over_marks() -> None:
    with torch.no_grad():
        output = random_model()(signal(1), signal(2))
    assert output.alpha[MAIN].shape == (N, N_MARKS, LAYOUT.n_windows)
    torch.testing.assert_close(output.alpha[MAIN].sum(dim=2), torch.ones(N, N_MARKS))
    torch.testing.assert_close(output.beta[MAIN].sum(dim=1), torch.ones(N))


def test_attention_is_the_share_of_what_passes_in_an_ensemble_too() -> None:
    model = Ensemble([random_model(seed) for seed in range(3)]).eval()
    with torch.no_grad():
        output = model(signal(1), signal(2))
    size = output.contribution.abs()
    weight = output.beta[MAIN].unsqueeze(2) * output.alpha[MAIN]
    torch.testing.assert_close(weight, size / size.sum(dim=(1, 2), keepdim=True))
    members = [member(signal(1), signal(2)).contribution for member in model.members]
    torch.testing.assert_close(output.contribution, torch.stack(members).mean(dim=0))


def test_attention_is_even_where_the_cells_are_alike() -> None:
    with torch.no_grad():
        output = random_model()(signal(1), signal(1))
    torch.testing.assert_close(output.alpha[MAIN], torch.full((N, N_MARKS, 230), 1 / 230))
    torch.testing.assert_close(output.beta[MAIN], torch.full((N, N_MARKS), 1 / N_MARKS))


def test_where_gates_are_shut_nothing_passes() -> None:
    """All of the weight on one mark and window leaves that one alone, whatever the others hold."""
    model = random_model()
    shut = -1e4 * torch.ones(N_MARKS * model.n_windows)
    shut[model.n_windows + 5] = 1e4
    with torch.no_grad():
        model.level1.weight.zero_()
        model.level1.bias.copy_(shut)
        model.level2.weight.zero_()
        model.level2.bias.copy_(torch.tensor([-1e4, 1e4, -1e4]))
        contribution = model(signal(1), signal(2)).contribution
    inside = slice(*model.near[5])
    assert contribution[:, 1, inside].abs().min() > 0
    contribution[:, 1, inside] = 0
    assert contribution.abs().max() == 0


def test_windows_are_500_bases_near_the_tss_and_1000_beyond() -> None:
    def widths(window: Window) -> list[int]:
        return [last - first for first, last in windows_of_bins(region_of("tss", window))]

    assert widths(Window()) == [10] * 7 + [5] * 12 + [10] * 7 + [20] * 10
    assert widths(Window(1000, 100)) == [5, 5, 5, 5, 20]
    assert widths(Window(10_000, 1000)) == [1] * 20 + [2] * 10
    assert sum(widths(Window(9900, 300))) == 2 * 66


def test_the_model_reads_the_mean_of_merged_bins() -> None:
    x = torch.arange(200, dtype=torch.float32).expand(1, N_MARKS, 200)
    windows = random_model()._windows(torch.cat((x, torch.zeros(1, N_MARKS, 30)), dim=2))
    assert windows[0, 0, :2].tolist() == pytest.approx([4.5, 14.5])  # bins 0 to 9, 10 to 19
    assert windows[0, 0, 7:9].tolist() == pytest.approx([72.0, 77.0])  # bins 70 to 74, 75 to 79


@pytest.mark.parametrize("regions", [("tss",), None])
def test_a_run_reads_what_it_was_trained_on(
    whole_gene_store: Store, tmp_path: Path, regions: tuple[str, ...] | None
) -> None:
    from diffchrom.deepdiff.training import Training
    from diffchrom.runs.making import make

    pair = Pair.of(whole_gene_store, regions=regions)
    run = make(Training("additive", settings=QUICK, device="cpu"), pair, tmp_path / "run")
    assert tuple(run.config.regions) == (regions or DEFAULT_REGIONS)
    opened = open_model(run, whole_gene_store, device="cpu")
    assert opened.pair.n_windows == pair.n_windows
    rows = np.arange(12)
    written = [line.split("\t") for line in (run.path / "predictions.tsv").read_text().splitlines()]
    column = written[0].index("log2fc_pred")
    np.testing.assert_allclose(
        opened.predict(rows).log2fc, [float(line[column]) for line in written[1:13]], atol=2e-5
    )


def test_the_same_seed_gives_the_same_bytes(whole_gene_store: Store, tmp_path: Path) -> None:
    job = training(whole_gene_store.path, "additive", settings=QUICK, device="cpu")
    first, second = (job.make(tmp_path / name).path / "model.safetensors" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_a_store_without_regions_trains_and_says_what_it_lacks(
    toy_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--store", str(toy_store.path), "--epochs", "1", "--ensemble", "1", "--no-ridge"]
    assert called([*arguments, "--out", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "diffchrom prepare --regions body,tes,distal" in capsys.readouterr().err


@pytest.mark.parametrize("name", RULES)
def test_attention_goes_to_what_a_known_rule_says_acts(tmp_path: Path, name: str) -> None:
    """Of test genes that change: most weight on marks that act, and where they act."""
    from diffchrom.deepdiff.training import Training
    from diffchrom.runs.making import make

    files = simulate(tmp_path, seed=1, rule=name)
    request = PrepareRequest(
        tmp_path / "s.h5",
        gtf=files.gtf,
        bigwigs=files.bigwigs,
        expression=(str(files.expression),),
        threads=1,
    )
    store = prepare(request).store
    pair = Pair.of(store)
    chosen = hyperparameters("default", "additive", ensemble=1)
    opened = open_model(make(Training(settings=chosen, device="cpu"), pair, tmp_path / "run"), store)
    rows = pair.rows("test")
    batch = opened.attention_of(rows[np.abs(pair.labels.log2fc[rows]) >= 1])
    share = dict(zip(pair.marks, batch.beta[MAIN].mean(axis=0), strict=True))
    acting = RULES[name].acting()
    drivers = {domain.mark for domain in acting}
    assert sum(share[mark] for mark in drivers) > 0.75
    assert min(share[mark] for mark in drivers) > max(share[mark] for mark in set(share) - drivers)
    middle = pair.window.middles
    bins = (batch.beta[MAIN][:, :, None] * batch.alpha)[:, :, : len(middle)]
    there = np.zeros(bins.shape[1:], dtype=bool)
    for domain in acting:
        there[pair.marks.index(domain.mark)] |= (middle > domain.first) & (middle < domain.last)
    top = np.argsort(-bins.reshape(len(bins), -1), axis=1, kind="stable")[:, :10]
    assert there.ravel()[top].mean() > 0.6
