"""The neural baselines' doors: torch is imported only when one of them is fitted."""

from __future__ import annotations

from diffchrom.baselines.method import Context, Examples, Grid, Predictor


def attentivechrome(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Two AttentiveChrome regressions."""
    from diffchrom.baselines.networks import AttentiveChrome, fit_two_cells

    return fit_two_cells(AttentiveChrome, train, valid, grid, context)


def attentivechrome_classes(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Two AttentiveChrome classifications of expression above or below the median."""
    from diffchrom.baselines.networks import AttentiveChrome, fit_two_cells

    return fit_two_cells(AttentiveChrome, train, valid, grid, context, classify=True)


def deepchrome(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """DeepChrome on the difference of the two cells' signals."""
    from diffchrom.baselines.networks import DeepChrome, fit_on_difference

    return fit_on_difference(DeepChrome, train, valid, grid, context)


def deepchrome_cells(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Two DeepChrome regressions."""
    from diffchrom.baselines.networks import DeepChrome, fit_two_cells

    return fit_two_cells(DeepChrome, train, valid, grid, context)


def deepchrome_classes(train: Examples, valid: Examples, grid: Grid, context: Context) -> Predictor:
    """Two DeepChrome classifications of expression above or below the median."""
    from diffchrom.baselines.networks import DeepChrome, fit_two_cells

    return fit_two_cells(DeepChrome, train, valid, grid, context, classify=True)
