"""The DeepDiff model: one class, built from a row of `variants.VARIANTS`.

Notation as in Sekhon, Singh and Qi 2018: Level I (f1) encodes the T bins of each sequence j with its own
bidirectional LSTM and soft attention alpha; Level II (f2) encodes the J resulting embeddings with one
bidirectional LSTM and soft attention beta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffchrom.deepdiff.lstm import LSTMBank
from diffchrom.variants import Variant

#: Level I and II blocks: of the main task, and of the auxiliary task of each cell.
MAIN, CELL_A, CELL_B = "main", "A", "B"
#: The one Level I block of both cells in siamese variants.
SHARED = "shared"


@dataclass(frozen=True)
class Output:
    """What a forward pass gives for a batch.

    Attributes
    ----------
    log2fc : Tensor [batch]
    expression : dict of block (A, B) to Tensor [batch, 1] (regression) or [batch, 2] (classification)
        Empty for variants without auxiliary tasks.
    embeddings : dict of block (A, B) to Tensor [batch, n_marks * 2 * hidden]
        Flattened Level I outputs, for the contrastive loss; empty for variants that are not siamese.
    alpha : dict of Level I block (main, A, B) to Tensor [batch, n_sequences, n_bins]
        Bin attention; every row sums to 1.
    beta : dict of Level II block (main, A, B) to Tensor [batch, n_sequences]
        Mark attention; every row sums to 1.
    log2fc_spread : Tensor [batch], or None
        Standard deviation of log2fc over the members of an ensemble.
    contribution : Tensor [batch, n_marks, n_windows], or None
        What each mark and window adds to log2fc, positive towards B; of models that are such a sum (and, in
        their own pair, a shift).
    penalty : Tensor [], or None
        To be added to the loss.
    """

    log2fc: Tensor
    expression: dict[str, Tensor]
    embeddings: dict[str, Tensor]
    alpha: dict[str, Tensor]
    beta: dict[str, Tensor]
    log2fc_spread: Tensor | None = None
    contribution: Tensor | None = None
    penalty: Tensor | None = None


def shares(contribution: Tensor) -> tuple[Tensor, Tensor]:
    """Attention that is exactly what passes: shares of |contribution|, even where nothing contributes.

    With S the sum of |c_jt| over marks j and windows t, c_jt = S beta_j alpha_jt sign(c_jt).

    Returns
    -------
    alpha [batch, n_marks, n_windows], beta [batch, n_marks]
        Both sum to 1 along their last axis.
    """
    size = contribution.abs()
    of_mark = size.sum(dim=2)
    total = of_mark.sum(dim=1, keepdim=True)
    alpha = torch.where(of_mark.unsqueeze(2) > 0, size / of_mark.unsqueeze(2), 1 / size.shape[2])
    return alpha, torch.where(total > 0, of_mark / total, 1 / size.shape[1])


class Encoder(nn.Module):
    """Bidirectional LSTMs with soft attention, for `n_sequences` independent sequences (equations 2 and 3).

    Used as f1 with one sequence a mark (input size 1) and as f2 with one sequence of marks.
    """

    def __init__(self, n_sequences: int, input_size: int, hidden: int) -> None:
        super().__init__()
        self.lstm = LSTMBank(n_sequences, input_size, hidden)
        self.context = nn.Parameter(torch.empty(n_sequences, 2 * hidden).uniform_(-0.1, 0.1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encode x [n_sequences, batch, T, input_size].

        Returns
        -------
        embedding [n_sequences, batch, 2 * hidden], attention [n_sequences, batch, T]
        """
        return self.lstm.attend(x, self.context)


class PairModel(nn.Module):
    """What predicts from the signal of two cells: a variant, an ensemble of them, or somebody's own module.

    Attributes
    ----------
    variant : which blocks there are.
    n_marks : M, marks of one cell.
    order : float
        1 for the pair that was trained on, -1 for its cells exchanged, 0 for other data (`set_order`); of
        consequence to models that learn something of the pair itself (`antisymmetric`).
    """

    variant: Variant
    n_marks: int
    order: float = 1.0

    def set_order(self, order: float) -> None:
        """Set `order` here and in members."""
        for module in self.modules():
            if isinstance(module, PairModel):
                module.order = order

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """Sources of the sequences of each Level I block, each standing for all marks in order."""
        raise NotImplementedError

    def fit_scaling(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]]) -> None:
        """Learn a scaling of its own from the training genes' input of each cell, where it has any."""

    def fit_start(self, batches: Callable[[], Iterable[tuple[Tensor, ...]]], log2fc: Tensor) -> None:
        """Begin from what can be computed of the training genes' inputs and labels [n_genes], if anything."""

    def fit_covariates(self, covariates: Tensor) -> None:
        """Learn their scaling from the training genes' [n_genes, n_covariates], NaN where unknown."""

    def fit_labels(self, log2fc: Tensor, level: float | None) -> None:
        """Take from the training genes' labels what needn't be learnt step by step.

        Parameters
        ----------
        log2fc : [n_genes]
        level : mean log2(expression + 1) of both cells; None where it is not to be predicted.
        """

    def scaling(self, marks: Sequence[str], n_windows: int) -> dict[str, Any]:
        """What its own scaling does, for ``config.json``; empty without any."""
        return {}

    def forward(self, a: Tensor, b: Tensor) -> Output:
        """Predict from the signal of cell A and of cell B, each [batch, n_marks, n_bins].

        Models with covariates take those [batch, n_covariates] as their third input.
        """
        raise NotImplementedError


class DeepDiff(PairModel):
    """Any variant of DeepDiff, or of one cell's AttentiveChrome inside it.

    Parameters
    ----------
    variant : which blocks there are.
    n_marks : M, marks of one cell.
    hidden : D, hidden size of Level I in each direction; Level II has half of it.
    dropout : on Level I embeddings and Level II outputs, while training.
    aux_outputs : 1 for regression of log2(expression + 1), 2 for classification above/below the median.
    drop_compared : whether dropout is on the embeddings that the contrastive loss compares, too.
    """

    def __init__(
        self,
        variant: Variant,
        n_marks: int,
        hidden: int = 32,
        dropout: float = 0.0,
        aux_outputs: int = 1,
        drop_compared: bool = True,
    ) -> None:
        super().__init__()
        self.drop_compared = drop_compared
        self.variant = variant
        self.n_marks = n_marks
        self.dropout = dropout
        embedding = 2 * hidden
        n_main = len(variant.main) * n_marks

        self.level1 = nn.ModuleDict()
        self.level2 = nn.ModuleDict()
        self.expression = nn.ModuleDict()
        if variant.main:
            self.level1[MAIN] = Encoder(n_main, 1, hidden)
            self.level2[MAIN] = Encoder(1, embedding, hidden // 2)
        if variant.auxiliary:
            for block in (SHARED,) if variant.siamese else (CELL_A, CELL_B):
                self.level1[block] = Encoder(n_marks, 1, hidden)
            for block in (CELL_A, CELL_B):
                self.level2[block] = Encoder(1, embedding, hidden // 2)
                self.expression[block] = nn.Linear(hidden, aux_outputs)
        self.head: nn.Module = (
            nn.Linear(hidden, 1)
            if variant.main
            else nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        )

    def sequences(self) -> dict[str, tuple[str, ...]]:
        """As the variant's row says."""
        blocks: dict[str, tuple[str, ...]] = {}
        if self.variant.main:
            blocks[MAIN] = self.variant.main
        if self.variant.auxiliary:
            blocks |= {CELL_A: ("A",), CELL_B: ("B",)}
        return blocks

    def forward(self, a: Tensor, b: Tensor) -> Output:
        """Predict from the signal of cell A and of cell B, each [batch, n_marks, n_bins]."""
        whole, alpha = self._level1(a, b)
        level1 = {block: F.dropout(h, self.dropout, self.training) for block, h in whole.items()}
        compared = level1 if self.drop_compared else whole
        main_parts = [level1[block] for block in self.sequences()]
        pooled: dict[str, Tensor] = {}
        beta: dict[str, Tensor] = {}
        if self.variant.auxiliary:
            for block in (CELL_A, CELL_B):
                pooled[block], beta[block] = self._level2(block, level1[block])
        if self.variant.main:
            # f2d reads the main block's embeddings followed by the auxiliary blocks'.
            joined = torch.cat(main_parts) if len(main_parts) > 1 else main_parts[0]
            summary, beta[MAIN] = self._level2(MAIN, joined)
        else:
            summary = torch.cat((pooled[CELL_A], pooled[CELL_B]), dim=1)
        return Output(
            log2fc=self.head(summary).squeeze(1),
            expression={block: self.expression[block](pooled[block]) for block in pooled},
            embeddings={block: compared[block].transpose(0, 1).flatten(1) for block in (CELL_A, CELL_B)}
            if self.variant.siamese
            else {},
            alpha={block: weights.transpose(0, 1) for block, weights in alpha.items()},
            beta=beta,
        )

    def _level1(self, a: Tensor, b: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Embeddings [n_sequences, batch, 2D] and attention [n_sequences, batch, T] of each Level I block."""
        signal = {"A": a, "B": b}
        if "A-B" in self.variant.main:
            signal["A-B"] = a - b
        embedding: dict[str, Tensor] = {}
        alpha: dict[str, Tensor] = {}
        for block, sources in self.sequences().items():
            if self.variant.siamese and block != MAIN:
                continue
            x = (
                torch.cat([signal[source] for source in sources], dim=1)
                if len(sources) > 1
                else signal[sources[0]]
            )
            embedding[block], alpha[block] = self.level1[block](_by_sequence(x))
        if self.variant.siamese:
            # One call with both cells in the batch: the weights are the same.
            both, weights = self.level1[SHARED](_by_sequence(torch.cat((a, b))))
            embedding[CELL_A], embedding[CELL_B] = both.chunk(2, dim=1)
            alpha[CELL_A], alpha[CELL_B] = weights.chunk(2, dim=1)
        return embedding, alpha

    def _level2(self, block: str, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Summary [batch, D] and beta [batch, J] of the embeddings [J, batch, 2D]."""
        summary, beta = self.level2[block](embeddings.transpose(0, 1).unsqueeze(0))
        return F.dropout(summary[0], self.dropout, self.training), beta[0]


def _by_sequence(x: Tensor) -> Tensor:
    """[batch, n_sequences, T] to [n_sequences, batch, T, 1]."""
    return x.transpose(0, 1).unsqueeze(-1).contiguous()


def initialise(model: nn.Module, init_range: float) -> None:
    """Draw every weight from uniform(-init_range, init_range), as the authors' released code does."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-init_range, init_range)
