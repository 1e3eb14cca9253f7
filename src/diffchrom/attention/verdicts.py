"""What a check of attention comes to: one verdict a level and rival, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from diffchrom.attention.deletion import DELETION, RANDOM
from diffchrom.attention.rivals import DIFFERENCE, NEARNESS, SIGNAL, UNTRAINED
from diffchrom.metrics import holm

ATTENTION = "attention"
REFERENCE = "integrated_gradients"
ANOTHER = "integrated_gradients_of_another_gene"
OTHER_SEEDS, OTHER_FOLDS = "other_seeds", "other_folds"
#: End of the names of paired differences: above 0, attention is the better.
MINUS = "minus"
BETTER, NO_BETTER = "better", "no better"
#: What a verdict needs after Holm's correction for all of a check.
SIGNIFICANT = 0.05

#: Whose order attention's must beat in deletion, in words.
RIVALS = {
    RANDOM: "random",
    UNTRAINED: "an untrained model's",
    DIFFERENCE: "|A - B| of the signal",
    SIGNAL: "the signal itself",
    NEARNESS: "nearness to the TSS",
}


@dataclass(frozen=True)
class Finding:
    """One row of the table of `check`.

    Attributes
    ----------
    level : ``bin`` or ``mark``.
    block : Level I block, or task of Level II; None for what concerns the whole model.
    mark : None unless the row is about one mark.
    comparison : what attention is compared with, or whose order or share this is.
    statistic : str
        ``concentration`` (1 - entropy / log n: 0 is uniform), ``spearman`` (of the weights of one gene and
        sequence), ``share`` (of a mark in all importance), ``deletion`` and ``insertion`` (mean absolute
        distance of the prediction from that of the whole signal), ``..._area`` (its mean over the fractions),
        ``deletion_minus`` (attention's area less this order's), ``insertion_minus`` (this order's less
        attention's), ``spearman_minus`` (own attribution's less another gene's), ``..._sd`` (standard
        deviation over draws or runs).
    fraction : share of the input that is masked, or put back.
    value, low, high : mean over genes with its 95% interval, by blocks of neighbouring genes.
    n_genes : genes where the statistic is defined; draws of an ``_sd``.
    p : two-sided, of a paired difference.
    p_holm : after Holm's correction for all verdicts of the check.
    verdict : ``better`` or ``no better``; None of what is not judged.
    """

    level: str
    block: str | None
    mark: str | None
    comparison: str
    statistic: str
    fraction: float | None
    value: float
    low: float
    high: float
    n_genes: int
    p: float | None = None
    p_holm: float | None = None
    verdict: str | None = None

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on it."""
        if self.statistic == f"{DELETION}_{MINUS}":
            return self.comparison in RIVALS
        return self.statistic == f"spearman_{MINUS}"

    @property
    def interval(self) -> str:
        """Value, interval and p-value, in words."""
        p = "" if self.p_holm is None else f", p {self.p_holm:.2g} after Holm"
        return f"{self.value:+.3g} ({self.low:+.3g} to {self.high:+.3g}{p})"


@dataclass
class Judged:
    """A table and what is said of it.

    Attributes
    ----------
    findings : the table.
    warnings : what attention fails at, one sentence each.
    notes : what it passes.
    """

    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def say(self, passed: bool, sentence: str) -> None:
        """Keep a sentence as a note, or as a warning where attention failed."""
        (self.notes if passed else self.warnings).append(sentence)

    def find(self, level: str, comparison: str, statistic: str) -> list[Finding]:
        """Findings of one kind, in the order of the table."""
        return [
            one
            for one in self.findings
            if (one.level, one.comparison, one.statistic) == (level, comparison, statistic)
        ]

    @property
    def verdicts(self) -> list[Finding]:
        """Findings that are judged, in the order of the table."""
        return [one for one in self.findings if one.verdict is not None]


def judge(result: Judged, n_draws: int, n_seeds: int, n_folds: int) -> None:
    """Put verdicts into the table, and say in words what it says in numbers.

    Parameters
    ----------
    n_draws : of untrained models.
    n_seeds, n_folds : runs with other seeds, and of other folds.
    """
    if all(one.n_genes < 2 for one in result.findings if one.statistic == "share"):
        result.notes.append("one gene: neither intervals nor verdicts")
        return
    _decide(result)
    for one in result.verdicts:
        passed = one.verdict == BETTER
        if one.comparison == ANOTHER:
            result.say(passed, _of_attribution(result, one, passed))
        else:
            result.say(passed, _of_order(result, one, passed, n_draws))
    result.notes += _beside_reference(result)
    _ranking(result)
    result.notes += _agreement(result, n_seeds, n_folds)


def _decide(result: Judged) -> None:
    at = [place for place, one in enumerate(result.findings) if one.judged]
    p_values = [result.findings[place].p for place in at]
    for place, p_holm in zip(at, holm([float("nan") if p is None else p for p in p_values]), strict=True):
        one = result.findings[place]
        better = p_holm < SIGNIFICANT and one.value > 0
        result.findings[place] = replace(one, p_holm=p_holm, verdict=BETTER if better else NO_BETTER)


def _of_order(result: Judged, one: Finding, passed: bool, n_draws: int) -> str:
    rival, spread = RIVALS[one.comparison], ""
    if one.comparison == UNTRAINED:
        (sd,) = result.find(one.level, UNTRAINED, f"{DELETION}_area_sd")
        spread = f"; sd {sd.value:.2g} over {n_draws} untrained models"
    return (
        f"{one.level}s: attention is {BETTER if passed else NO_BETTER} than {rival}: masking by its order "
        f"moves log2fc_pred by {one.interval} more than masking by that{spread}"
    )


def _of_attribution(result: Judged, one: Finding, passed: bool) -> str:
    own, another = (
        next(row.value for row in result.find(one.level, name, "spearman") if row.block == one.block)
        for name in (REFERENCE, ANOTHER)
    )
    where = f"{one.level} attention of {'block' if one.level == 'bin' else 'task'} {one.block}"
    return (
        f"{where}: rank correlation with integrated gradients {own:.2f}, {another:.2f} with another gene's; "
        f"beyond that {one.interval}" + ("" if passed else ": it does not follow what drives the prediction")
    )


def _beside_reference(result: Judged) -> Iterator[str]:
    for level in ("bin", "mark"):
        areas = [
            one.value
            for name in (ATTENTION, REFERENCE)
            for one in result.find(level, name, f"{DELETION}_area")
        ]
        if areas and areas[1] > 0:
            yield f"{level}s: attention's deletion area is {areas[0] / areas[1]:.0%} of integrated gradients'"


def _ranking(result: Judged) -> None:
    by_attention, by_gradients = (
        [str(one.mark) for one in sorted(result.find("mark", name, "share"), key=lambda one: -one.value)]
        for name in (ATTENTION, REFERENCE)
    )
    upper = (len(by_attention) + 1) // 2
    result.say(
        by_attention[0] == by_gradients[0] and set(by_attention[:upper]) == set(by_gradients[:upper]),
        f"attention ranks the marks {', '.join(by_attention)}; integrated gradients rank them "
        f"{', '.join(by_gradients)}",
    )


def _agreement(result: Judged, n_seeds: int, n_folds: int) -> Iterator[str]:
    compared = (
        (OTHER_SEEDS, n_seeds, "with other seeds, of the same training genes"),
        (OTHER_FOLDS, n_folds, "of other folds, some of which were trained on the genes that are checked"),
    )
    for name, n_runs, what in compared:
        values = [
            f"{one.level}s of {one.block} {one.value:.2f}"
            for level in ("bin", "mark")
            for one in result.find(level, name, "spearman")
        ]
        if values:
            yield f"rank correlation with the attention of {n_runs} runs {what}: {', '.join(values)}"
    if not n_seeds:
        yield "no run with another seed was compared; train one beside this run, or name it with `other`"
