"""Trees of one window each: what a window contributes is its own, nothing where the cells agree, and odd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffchrom.deepdiff.window_trees import WindowTrees

N_GENES, N_WINDOWS = 600, 5


def genes(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Signal of A and of B, and one covariate."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(N_GENES, width, generator=generator) for width in (N_WINDOWS, N_WINDOWS, 1))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def trees() -> WindowTrees:
    """Grown on what changes by a step in window 3 where the covariate is high, by window 1, and by 0.7."""
    a, b, covariate = genes()
    step = 2.0 * ((b - a)[:, 3] > 0.5) * (covariate[:, 0] > 0)
    grown = WindowTrees(60, N_WINDOWS, 1)
    grown.fit(a, b, covariate, step + (b - a)[:, 1] + 0.7, seed=0)
    return grown


def test_the_windows_that_matter_contribute(trees: WindowTrees) -> None:
    a, b, covariate = genes(1)
    contributions, of_pair = trees(a, b, covariate, 1.0)
    truth = 2.0 * ((b - a)[:, 3] > 0.5) * (covariate[:, 0] > 0) + (b - a)[:, 1]
    assert np.corrcoef(contributions.sum(dim=1) + of_pair, truth)[0, 1] > 0.95
    size = contributions.abs().mean(dim=0)
    assert size[1] > size[3] > 4 * size[[0, 2, 4]].max()


def test_a_window_in_which_the_cells_agree_contributes_nothing(trees: WindowTrees) -> None:
    a, b, covariate = genes(2)
    b[:, 1] = a[:, 1]
    contributions, _ = trees(a, b, covariate, 1.0)
    assert (contributions[:, 1] == 0).all()
    assert (contributions[:, 3] != 0).any()


@given(st.integers(0, N_WINDOWS - 1), st.sampled_from([-1.0, 0.0, 1.0]))
@settings(max_examples=15, deadline=None)
def test_what_a_window_contributes_is_its_own(trees: WindowTrees, window: int, order: float) -> None:
    a, b, covariate = genes(3)
    before, _ = trees(a, b, covariate, order)
    moved = b.clone()
    moved[:, window] += 1
    after, _ = trees(a, moved, covariate, order)
    others = [other for other in range(N_WINDOWS) if other != window]
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)


def test_exchanging_the_cells_negates_contributions_and_what_is_the_pairs_own(trees: WindowTrees) -> None:
    a, b, covariate = genes(4)
    for order in (1.0, 0.0):
        forward, backward = trees(a, b, covariate, order), trees(b, a, covariate, -order)
        for of_forward, of_backward in zip(forward, backward, strict=True):
            torch.testing.assert_close(of_forward, -of_backward)
    assert (trees(a, b, covariate, 0.0)[1] == 0).all()


def test_for_its_own_pair_all_adds_up_to_the_leaves(trees: WindowTrees) -> None:
    a, b, covariate = genes(5)
    contributions, of_pair = trees(a, b, covariate, 1.0)
    features = torch.cat((a, b, b - a, covariate), dim=1)
    total = torch.full((50,), float(trees.start), dtype=torch.float64)
    for feature, right, number in zip(trees.feature, trees.right, trees.number, strict=True):
        for gene in range(50):
            node = 0
            while right[node]:
                above = features[gene, feature[node]] > number[node]
                node = int(right[node]) if above else node + 1
            total[gene] += number[node]
    torch.testing.assert_close((contributions.sum(dim=1) + of_pair)[:50].double(), total, atol=1e-4, rtol=0)


def test_derivatives_along_a_line_add_up_to_what_the_trees_change_by(trees: WindowTrees) -> None:
    a, b, covariate = genes(6)
    points = 200
    total = torch.zeros(N_GENES)
    for point in (torch.arange(points) + 0.5) / points:
        x = (a * point).requires_grad_()
        y = (b * point).requires_grad_()
        contributions, of_pair = trees(x, y, covariate, 1.0)
        (contributions.sum() + of_pair.sum()).backward()
        total += ((x.grad * a).sum(dim=1) + (y.grad * b).sum(dim=1)) / points
    whole = [trees(p * a, p * b, covariate, 1.0) for p in (0.0, 1.0)]
    change = (whole[1][0].sum(1) + whole[1][1]) - (whole[0][0].sum(1) + whole[0][1])
    assert np.corrcoef(total, change)[0, 1] > 0.95
    assert float((total - change).abs().mean()) < 0.25 * float(change.abs().mean())


def test_what_is_a_cells_own_is_learnt_apart_from_what_differs_and_is_odd() -> None:
    """Three cells: the third one's libraries add 1 where the covariate is high."""
    a, b, covariate = genes(4)
    random = np.random.default_rng(0)
    pairs = torch.from_numpy(random.permuted(np.tile([-1.0, 1.0, 0.0], (N_GENES, 1)), axis=1)).float()
    of_third = pairs[:, 2] * (covariate[:, 0] > 0)
    both = torch.cat((covariate, pairs), dim=1)
    grown = WindowTrees(80, N_WINDOWS, 4, n_cells=3)
    exchanged = grown.exchanged(both)
    assert torch.equal(exchanged, torch.cat((covariate, -pairs), dim=1))
    truth = (b - a)[:, 1] + of_third
    grown.fit(
        torch.cat((a, b)),
        torch.cat((b, a)),
        torch.cat((both, exchanged)),
        torch.cat((truth, -truth)),
        seed=0,
    )
    contributions, of_cells = grown(a, b, both, 0.0)
    assert np.corrcoef(of_cells, of_third)[0, 1] > 0.9
    assert np.corrcoef(contributions.sum(dim=1), (b - a)[:, 1])[0, 1] > 0.95
    back, of_cells_back = grown(b, a, exchanged, 0.0)
    torch.testing.assert_close(back, -contributions, rtol=0, atol=1e-5)
    torch.testing.assert_close(of_cells_back, -of_cells, rtol=0, atol=1e-5)
    unseen = torch.cat((covariate, torch.zeros(N_GENES, 3)), dim=1)
    assert not grown(a, b, unseen, 0.0)[1].any()


@pytest.mark.parametrize(
    ("name", "value"),
    [("feature", 10**6), ("feature", -1), ("right", 1000), ("right", 1), ("right", -5), ("window", 99)],
)
def test_nodes_that_lead_nowhere_are_refused(trees: WindowTrees, name: str, value: int) -> None:
    damaged = {key: values.clone() for key, values in trees.state_dict().items()}
    damaged[name][0, 0] = value
    with pytest.raises(ValueError, match="leads nowhere"):
        WindowTrees(60, N_WINDOWS, 1).load_state_dict(damaged)


def test_too_few_genes_to_part_grow_no_trees(trees: WindowTrees) -> None:
    a, b, covariate = (values[:30] for values in genes())
    few = WindowTrees(5, N_WINDOWS, 1)
    few.fit(a, b, covariate, torch.arange(30.0), seed=0)
    contributions, of_pair = few(a, b, covariate, 1.0)
    assert (contributions == 0).all()
    torch.testing.assert_close(of_pair, torch.full((30,), 14.5))


def test_the_same_seed_grows_the_same_trees() -> None:
    a, b, covariate = genes()
    first, second, other = (WindowTrees(5, N_WINDOWS, 1) for _ in range(3))
    for grown, seed in ((first, 1), (second, 1), (other, 2)):
        grown.fit(a, b, covariate, (b - a)[:, 0], seed)
    assert torch.equal(first.number, second.number)
    assert not torch.equal(first.number, other.number)
