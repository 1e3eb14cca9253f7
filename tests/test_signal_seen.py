"""Distributions of signal: distances against scipy's, and quantile normalisation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from diffchrom.files.records import read_record, write_record
from diffchrom.pairs.signal_seen import LEAST_LIMIT, LEVELS, Reference, SeenSignal, ks_distance, quantiles


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5), st.floats(0, 0.8))
def test_the_distance_is_that_of_kolmogorov_and_smirnov(seed: int, depth: float, silent: float) -> None:
    random = np.random.default_rng(seed)
    first, second = random.gamma(2, size=(2, 500, 20)).astype(np.float32)
    second = np.where(random.random(second.shape) < silent, 0, depth * second).astype(np.float32)
    expected = ks_2samp(first.ravel(), second.ravel()).statistic
    assert ks_distance(quantiles(first), quantiles(second)) == pytest.approx(expected, abs=0.025)
    assert ks_distance(quantiles(first), quantiles(first)) == 0


def seen_of(*cells: np.ndarray) -> SeenSignal:
    values = np.stack([[[quantiles(cell)]] for cell in cells])
    return SeenSignal(tuple(f"c{i}" for i in range(len(cells))), ("m",), ("tss",), values)


def test_a_cell_is_outside_when_it_is_further_away_than_those_seen_from_each_other() -> None:
    random = np.random.default_rng(0)
    draw = lambda scale: (scale * random.gamma(2, size=(400, 20))).astype(np.float32)  # noqa: E731
    seen = seen_of(draw(1.0), draw(2.0))
    (between,) = seen.distances("x", np.stack([[quantiles(draw(1.5))]]))
    (beyond,) = seen.distances("x", np.stack([[quantiles(draw(8.0))]]))
    assert between.limit == beyond.limit > LEAST_LIMIT
    assert not between.outside
    assert beyond.outside
    alike = seen_of(draw(1.0), draw(1.0))
    assert alike.distances("x", np.stack([[quantiles(draw(1.0))]]))[0].limit == LEAST_LIMIT


def test_signal_gets_the_distribution_of_the_reference_and_keeps_its_order() -> None:
    random = np.random.default_rng(1)
    reference_signal = random.gamma(2, size=(600, 20)).astype(np.float32)
    signal = np.sqrt(7 * random.gamma(2, size=(600, 20))).astype(np.float32)
    reference = Reference(("m",), ("tss",), quantiles(reference_signal)[None, None])
    own = quantiles(signal)[None, None]
    normalised = reference.apply(signal[:, None], own, ("m",), "tss")[:, 0]
    np.testing.assert_allclose(
        quantiles(normalised)[:99], quantiles(reference_signal)[:99], rtol=0.05, atol=0.01
    )
    order = np.argsort(signal, axis=None)
    assert (np.diff(normalised.ravel()[order]) >= 0).all()
    itself = reference.apply(reference_signal[:, None], reference.quantiles, ("m",), "tss")[:, 0]
    np.testing.assert_allclose(itself, reference_signal, atol=1e-4)


def test_what_a_file_says_is_held_to_its_sizes(tmp_path) -> None:
    seen = seen_of(np.ones((5, 4), np.float32))
    write_record(tmp_path / "s", seen)
    again = read_record(tmp_path / "s", SeenSignal)
    np.testing.assert_array_equal(again.quantiles, seen.quantiles)
    assert (again.cells, again.marks, again.regions) == (seen.cells, seen.marks, seen.regions)
    with pytest.raises(ValueError, match="than are named"):
        SeenSignal(("a", "b"), ("m",), ("tss",), seen.quantiles)
    assert len(LEVELS) == seen.quantiles.shape[-1]
