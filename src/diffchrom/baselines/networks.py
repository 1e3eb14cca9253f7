# ruff: noqa: TID253 - torch is the subject; `neural` imports this module only when a network is fitted
"""Neural baselines: AttentiveChrome (Singh et al. 2017) and DeepChrome (Singh et al. 2016).

A single-cell model predicts one cell's log2(expression + 1) from that cell's marks; two of them, trained
independently, predict log2fc by the difference of what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffchrom.baselines.method import (
    Context,
    Examples,
    Grid,
    Prediction,
    Predictor,
    Vector,
    least_squares,
    require_genes,
    selection_score,
)
from diffchrom.deepdiff.building import seeded
from diffchrom.deepdiff.cuda import on_card, resolve_device
from diffchrom.deepdiff.model import DeepDiff, initialise
from diffchrom.deepdiff.optimiser import Adam
from diffchrom.genome.genes import Signal
from diffchrom.pairs.transform import Transform
from diffchrom.progress import Reporter
from diffchrom.variants import Variant

_PREDICTED_AT_A_TIME = 512


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is trained, in the words of `config.Hyperparameters`.

    Labels are standardised where signal is; `hidden` and `dropout` are AttentiveChrome's. With `rescaled` the
    line through the validation genes' predictions and labels brings predictions to scale: r, which chooses
    the epoch, knows none, so networks of different folds would differ in theirs.
    """

    epochs: int
    batch_size: int
    lr: float
    patience: int
    clip_norm: float = 1.0
    hidden: int = 32
    dropout: float = 0.2
    transform: str = "log1p"
    standardise: bool = True
    init_range: float | None = None
    rescaled: bool = False


#: Level I, Level II and a linear output on the marks of one cell: AttentiveChrome is DeepDiff's main block.
ONE_CELL = Variant("attentivechrome", ("A",), False, False, "one cell's marks")


class AttentiveChrome(nn.Module):
    """AttentiveChrome: x [n_genes, n_marks, n_bins] to one output a gene."""

    def __init__(self, n_marks: int, n_bins: int, n_beyond: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.model = DeepDiff(ONE_CELL, n_marks, settings.hidden, settings.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Predict [n_genes]."""
        output: Tensor = self.model(x, x).log2fc
        return output


class DeepChrome(nn.Module):
    """DeepChrome: 50 filters of 10 bins, pooling by 5, dropout 0.5 and layers of 625 and 125 units.

    Windows beyond the TSS, which have no neighbours of equal width, reach the layers as they are.
    """

    #: Layers that see the bins around the TSS alone.
    _AROUND = 5

    def __init__(self, n_marks: int, n_bins: int, n_beyond: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.n_bins = n_bins
        width = min(10, n_bins)
        pool = min(5, n_bins - width + 1)
        pooled = (n_bins - width + 1) // pool
        self.layers = nn.Sequential(
            nn.Conv1d(n_marks, 50, width),
            nn.ReLU(),
            nn.MaxPool1d(pool),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(50 * pooled + n_marks * n_beyond, 625),
            nn.ReLU(),
            nn.Linear(625, 125),
            nn.ReLU(),
            nn.Linear(125, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Predict [n_genes] from x [n_genes, n_marks, n_bins + n_beyond]."""
        around, beyond = self.layers[: self._AROUND](x[..., : self.n_bins]), x[..., self.n_bins :]
        output: Tensor = self.layers[self._AROUND :](torch.cat([around, beyond.flatten(1)], dim=1)).squeeze(1)
        return output


Network = type[AttentiveChrome] | type[DeepChrome]
#: By the name that a fitted one is kept under.
NETWORKS: dict[str, Network] = {network.__name__: network for network in (AttentiveChrome, DeepChrome)}


@dataclass(frozen=True)
class Trained:
    """A network with its best epoch's weights, and how its output becomes a label.

    Attributes
    ----------
    network : key of `NETWORKS`.
    n_marks, n_bins, n_beyond, settings : what it was built with.
    weights : of its ``state_dict``.
    centre, spread : of the training labels; 0 and 1 where they are not standardised, and for classification,
        whose output is a logit.
    epoch : the best one, by validation r.
    score : its validation r.
    """

    network: str
    n_marks: int
    n_bins: int
    settings: NetworkSettings
    weights: Mapping[str, Signal]
    centre: float
    spread: float
    epoch: int
    score: float
    n_beyond: int = 0

    def __post_init__(self) -> None:
        """Refuse weights that are not those of such a network, with ValueError, before it takes memory."""
        if self.network not in NETWORKS:
            raise ValueError(f"no network is called {self.network}")
        if not 0 < self.n_marks <= sum(array.size for array in self.weights.values()):
            raise ValueError("the network has fewer weights than marks")
        shapes = {name: tuple(tensor.shape) for name, tensor in self._empty().state_dict().items()}
        if shapes != {name: array.shape for name, array in self.weights.items()}:
            raise ValueError("the weights are not those of the network")

    def _empty(self) -> nn.Module:
        """Build the network without memory for its weights, and without a random number."""
        with torch.device("meta"):
            return NETWORKS[self.network](self.n_marks, self.n_bins, self.n_beyond, self.settings)

    @cached_property
    def module(self) -> nn.Module:
        """The network, in evaluation mode."""
        module = self._empty()
        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        module.load_state_dict(weights, assign=True)
        return module.eval()

    def predict(self, x: Signal) -> Vector:
        """Label of every gene of x [n_genes, n_marks, n_windows], transformed."""
        return (
            _outputs(self.module, torch.from_numpy(x)).numpy().astype(np.float64) * self.spread + self.centre
        )


def _outputs(module: nn.Module, x: Tensor) -> Tensor:
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(part) for part in torch.split(x, _PREDICTED_AT_A_TIME)])


def train_network(
    network: Network,
    train: tuple[Signal, Vector],
    valid: tuple[Signal, Vector],
    settings: NetworkSettings,
    seed: int,
    reporter: Reporter,
    *,
    n_bins: int,
    classify: bool = False,
    device: str = "auto",
) -> Trained:
    """Train with Adam until `NetworkSettings.patience` epochs bring no better validation r.

    Parameters
    ----------
    network : its class.
    train, valid : transformed signal [n_genes, n_marks, n_windows] and labels [n_genes] (0 or 1 to classify).
    settings : epochs, batch_size, lr, patience, clip_norm and what `network` reads.
    seed : of weights, shuffling and dropout.
    n_bins : bins around the TSS, which the windows of further regions follow.
    device : where it is trained; what comes out predicts on the CPU.
    """
    where = resolve_device(device)
    x, y = torch.from_numpy(train[0]).to(where), train[1]
    centre, spread = 0.0, 1.0
    if settings.standardise and not classify:
        centre, spread = float(y.mean()), float(y.std()) or 1.0
    labels = torch.from_numpy((y - centre) / spread).float().to(where)
    loss = F.binary_cross_entropy_with_logits if classify else F.mse_loss
    with seeded(seed):
        module = network(x.shape[1], n_bins, x.shape[2] - n_bins, settings)
        if settings.init_range is not None:
            initialise(module, settings.init_range)
    module = module.to(where)
    optimiser = Adam(module.parameters(), settings.lr)
    held_out = torch.from_numpy(valid[0]).to(where)
    best: tuple[float, int, dict[str, Tensor]] | None = None
    with reporter.task("training", settings.epochs) as task, on_card(where):
        for epoch in range(1, settings.epochs + 1):
            with seeded(seed + 7919 * epoch, where):
                _epoch(module, optimiser, x, labels, loss, settings)
            score = selection_score(valid[1], _outputs(module, held_out).cpu().numpy())
            if best is None or score > best[0]:
                weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
                best = (score, epoch, weights)
            task.advance(1, f"epoch {epoch}, valid r {score:.3f}")
            if epoch - best[1] >= settings.patience:
                break
    assert best is not None
    score, epoch, state = best
    arrays = {name: tensor.cpu().numpy() for name, tensor in state.items()}
    return Trained(
        *(network.__name__, x.shape[1], n_bins, settings, arrays, centre, spread, epoch, score),
        n_beyond=x.shape[2] - n_bins,
    )


def _epoch(
    module: nn.Module,
    optimiser: Adam,
    x: Tensor,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    settings: NetworkSettings,
) -> None:
    module.train()
    for index in torch.split(torch.randperm(len(x)).to(x.device), settings.batch_size):
        optimiser.zero_grad()
        loss(module(x[index]), labels[index]).backward()  # type: ignore[no-untyped-call]
        optimiser.step(settings.clip_norm)


def settings_of(grid: Grid) -> NetworkSettings:
    """Settings with the grid's (single) values put in place."""
    return NetworkSettings(**{name: values[0] for name, values in grid.items()})


def fit_network_transform(settings: NetworkSettings, *signals: Signal) -> Transform:
    """Fit the settings' transform, mark by mark, on the training genes."""
    return Transform.fit(settings.transform, settings.standardise, np.arange(len(signals[0])), *signals)


@dataclass(frozen=True)
class OneNetwork:
    """One network on the difference of the transformed signals, times `slope` plus `intercept`."""

    transform: Transform
    network: Trained
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The best epoch, and the scale."""
        return {"epoch": self.network.epoch, "valid_r": self.network.score, "slope": self.slope}

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc."""
        output = self.network.predict(_difference(self.transform, genes))
        return Prediction(output * self.slope + self.intercept)


def _difference(transform: Transform, genes: Examples) -> Signal:
    return transform.apply(genes.signal_b) - transform.apply(genes.signal_a)


def fit_on_difference(
    network: Network, train: Examples, valid: Examples, grid: Grid, context: Context
) -> Predictor:
    """Train one network on B - A of the transformed signal."""
    require_genes(train, 2, "a network")
    require_genes(valid, 2, "a network's validation")
    settings = settings_of(grid)
    transform = fit_network_transform(settings, train.signal_a, train.signal_b)
    trained = train_network(
        network,
        (_difference(transform, train), train.log2fc),
        (_difference(transform, valid), valid.log2fc),
        settings,
        context.seed,
        context.reporter,
        n_bins=train.n_bins,
        device=context.device,
    )
    fitted = OneNetwork(transform, trained)
    return _to_scale(fitted, valid) if settings.rescaled else fitted


@dataclass(frozen=True)
class TwoCells:
    """A network for each cell; log2fc is B's prediction less A's, times `slope` plus `intercept`.

    For regression that is 1 and 0 unless `NetworkSettings.rescaled`; a difference of probabilities is brought
    to log2fc by least squares on the training genes, which no correlation can see.
    """

    transforms: tuple[Transform, Transform]
    networks: tuple[Trained, Trained]
    classify: bool
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The best epoch of each cell's network."""
        return {
            f"{name}_{cell}": value
            for cell, network in zip("ab", self.networks, strict=True)
            for name, value in (("epoch", network.epoch), ("valid_r", network.score))
        } | {"slope": self.slope, "intercept": self.intercept}

    def predict(self, genes: Examples) -> Prediction:
        """Predict log2fc, and each cell's log2(expression + 1) or probability of a high one."""
        cells = {}
        signals = (genes.signal_a, genes.signal_b)
        for cell, signal, transform, network in zip(
            "AB", signals, self.transforms, self.networks, strict=True
        ):
            output = network.predict(transform.apply(signal))
            cells[cell] = 1 / (1 + np.exp(-output)) if self.classify else output
        return Prediction((cells["B"] - cells["A"]) * self.slope + self.intercept, cells)


def fit_two_cells(
    network: Network,
    train: Examples,
    valid: Examples,
    grid: Grid,
    context: Context,
    *,
    classify: bool = False,
) -> Predictor:
    """Train one network a cell, each on its own cell's signal and expression alone.

    To classify is to tell expression above the training genes' median from the rest.
    """
    require_genes(train, 2, "a network")
    require_genes(valid, 2, "a network's validation")
    settings = settings_of(grid)
    transforms, networks = [], []
    for number, cell in enumerate("ab"):
        signal, labels = train.expressed(cell)
        held_out, held_labels = valid.expressed(cell)
        if classify:
            median = np.median(labels)
            labels, held_labels = ((values > median).astype(np.float64) for values in (labels, held_labels))
        transform = fit_network_transform(settings, signal)
        transforms.append(transform)
        networks.append(
            train_network(
                network,
                (transform.apply(signal), labels),
                (transform.apply(held_out), held_labels),
                settings,
                context.seed + number,
                context.reporter,
                n_bins=train.n_bins,
                classify=classify,
                device=context.device,
            )
        )
    fitted = TwoCells((transforms[0], transforms[1]), (networks[0], networks[1]), classify)
    return _to_scale(fitted, train if classify else valid) if classify or settings.rescaled else fitted


_Networks = TypeVar("_Networks", OneNetwork, TwoCells)


def _to_scale(fitted: _Networks, genes: Examples) -> _Networks:
    """The same with the line through its predictions of `genes` and their labels."""
    slope, intercept = least_squares(genes.log2fc, fitted.predict(genes.without_labels()).log2fc)
    return replace(fitted, slope=slope, intercept=intercept)
