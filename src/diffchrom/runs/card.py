"""A model card: what a model was made of, how good it is, and what it is not for, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from diffchrom.genome.regions import TSS
from diffchrom.pairs.choices import direction
from diffchrom.pairs.covariates import has_prior
from diffchrom.runs.folder import RunConfig
from diffchrom.runs.tables import describe_accuracy, describe_labels


def model_card(config: RunConfig) -> str:
    """Markdown of a finished run."""
    sections = {
        "What it does": _purpose(config),
        "Data": _data(config),
        "Accuracy": _accuracy(config),
        "Checks and limits": _limits(config),
        "Made with": (f"{name} {version}" for name, version in config.versions.items()),
    }
    parts = [f"# {config.method}, {','.join(config.pair)}"]
    for heading, lines in sections.items():
        parts.append("\n".join([f"## {heading}", "", *(f"- {line}" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def _purpose(config: RunConfig) -> Iterator[str]:
    yield "Predicts log2 fold changes of genes' expression between two cells from their histone marks."
    yield f"{direction(config.pair)}; `diffchrom predict MODEL --pair C,D` for other cells."
    if has_prior(config.covariates):
        yield "It reads a gene prior: expression of the genes in two or more cells other than the pair's."


def _data(config: RunConfig) -> Iterator[str]:
    yield f"Trained on cells {config.pair[0]} and {config.pair[1]}; {config.store.get('n_genes', '?')} genes."
    yield f"Marks, all of which it needs: {', '.join(config.marks)}."
    yield f"Windows: {config.window.described()}; regions {', '.join(tuple(config.regions) or (TSS,))}."
    yield f"Unit of expression: {config.unit or 'none, changes were given'}; split: {config.split}."
    yield f"Covariates: {', '.join(config.covariates) or 'none'}."


def _accuracy(config: RunConfig) -> Iterator[str]:
    yield f"Test genes of its own pair: {describe_accuracy(config)}."
    test = config.metrics.get("test", {})
    if (without := test.get("pearson_without_shift")) is not None:
        yield f"Without the shift of its own pair, as for any other cells: r = {without:.3f}."
    yield from (f"{name}: {value:.4g}" for name, value in test.items() if name != "n" and value is not None)
    if coverage := (config.details.get("coverage") or {}).get("all"):
        yield f"90% intervals cover {coverage['coverage']:.1%} of {coverage['n']} test genes."


def _limits(config: RunConfig) -> Iterator[str]:
    yield (
        "Accuracy is of genes on chromosomes that were not trained on, in the cells that were: cells of "
        "other tissues, assays, depths or units of signal may be predicted worse."
    )
    yield "Intervals hold for its own pair; for other cells they are calibrated on measured genes or missing."
    yield "Predictions are associations: they do not say what would happen if a mark were changed."
    if said := describe_labels(config.details):
        yield f"Labels: {said}."
