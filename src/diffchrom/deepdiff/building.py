"""Models with random weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from diffchrom.config import Hyperparameters
from diffchrom.deepdiff.additive import Additive
from diffchrom.deepdiff.antisymmetric import Antisymmetric
from diffchrom.deepdiff.ensemble import Ensemble
from diffchrom.deepdiff.model import DeepDiff, PairModel, initialise
from diffchrom.errors import RunError, UsageError
from diffchrom.genome.genes import Rows, Signal, Window
from diffchrom.genome.layout import Layout, layout_of
from diffchrom.genome.regions import TSS
from diffchrom.pairs.covariates import counts
from diffchrom.pairs.transform import Transform
from diffchrom.runs.folder import Run
from diffchrom.variants import Variant, get_variant

INFERENCE_BATCH = 256
_CPU = torch.device("cpu")


def use_threads(threads: int) -> None:
    """Let models compute with so many threads from now on."""
    torch.set_num_threads(threads)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Draw torch's random numbers from `seed` inside the block, and leave the caller's as they were.

    Parameters
    ----------
    device : whose numbers are drawn besides the CPU's.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # Not torch.manual_seed: it seeds every device there is, and only these are put back.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def build_model(
    variant: Variant,
    n_marks: int,
    settings: Hyperparameters,
    layout: Layout | None = None,
    n_covariates: int = 0,
    n_cells: int = 0,
) -> PairModel:
    """Make the model of a variant with random weights.

    Parameters
    ----------
    layout : of the signal's last axis, for variants that have weights for every window; None is the bins
        around the TSS as `prepare` cuts them by default.
    n_covariates : numbers of a gene that are read beside the signal, by variants that do.
    n_cells : cells whose codes are read behind these, by a model of several pairs.
    """
    if variant.additive:
        layout = layout or layout_of(Window(), (TSS,))
        return Additive(variant, n_marks, settings, layout, n_covariates, n_cells)
    outputs = 2 if settings.aux_task == "classification" else 1
    if variant.antisymmetric:
        return Antisymmetric(
            variant,
            n_marks,
            settings.hidden,
            settings.dropout,
            outputs,
            settings.transform,
            settings.standardise,
        )
    return DeepDiff(
        variant, n_marks, settings.hidden, settings.dropout, outputs, settings.contrastive_dropout
    )


def untrained_like(
    trained: PairModel, settings: Hyperparameters, layout: Layout | None, covariates: Sequence[str], seed: int
) -> PairModel:
    """As many members of the same variant with random weights, drawn as training draws its first ones.

    What is fitted to the signal alone, such as the scaling, is that of `trained`.
    """
    models = []
    with seeded(seed):
        for member in trained.members if isinstance(trained, Ensemble) else [trained]:
            model = build_model(trained.variant, trained.n_marks, settings, layout, *counts(covariates))
            if settings.init_range is not None:
                initialise(model, settings.init_range)
            fitted = {
                name: values for name, values in member.named_buffers() if not name.startswith("trees.")
            }
            model.load_state_dict(fitted, strict=False)
            models.append(model)
    drawn = models[0] if len(models) == 1 else Ensemble(models)
    drawn.set_order(trained.order)
    return drawn


def fit_transform(variant: Variant, settings: Hyperparameters, rows: Rows, *signals: Signal) -> Transform:
    """Fit the transform of a model's input on the training genes `rows`.

    Our own variants transform merged signal by themselves, so their input is the signal as it is.
    """
    if variant.antisymmetric:
        return Transform.fit("raw", False, rows, *signals)
    return Transform.fit(settings.transform, settings.standardise, rows, *signals)


def build_run_model(run: Run, layout: Layout | None = None) -> PairModel:
    """Make the model that a run's configuration describes, with random weights.

    Parameters
    ----------
    layout : of the signal that it is to read; None is what the configuration names.
    """
    config = run.config
    try:
        layout = layout or config.layout
        settings = Hyperparameters(**config.hyperparameters)
        variant = get_variant(config.variant)
        n_members = variant.ensemble_size(settings.ensemble)
        with seeded(0):  # these weights are replaced; the caller's random numbers are not to be drawn
            n_marks = len(config.marks)
            numbers = counts(config.covariates)
            members = [build_model(variant, n_marks, settings, layout, *numbers) for _ in range(n_members)]
        return members[0] if len(members) == 1 else Ensemble(members)
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError, UsageError) as error:
        raise RunError(f"{run.path}: config.json describes no model of this version ({error})") from error
