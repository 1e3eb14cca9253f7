"""The methods paragraph of the report: what was done, ready to paste, with citations and versions."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields

from diffchrom._version import __version__
from diffchrom.baselines.methods import METHODS
from diffchrom.config import Hyperparameters
from diffchrom.errors import RunError
from diffchrom.genome.regions import TSS
from diffchrom.pairs.covariates import has_prior
from diffchrom.report.charts import count
from diffchrom.report.results import epochs_of, read_history
from diffchrom.runs.cross_validation import fold_folder
from diffchrom.runs.folder import Run, RunConfig
from diffchrom.sweeps.jobs import BASELINE, DEEPDIFF
from diffchrom.sweeps.results import Result
from diffchrom.variants import VARIANTS

#: What is cited, by the word in the text.
CITATIONS = {
    "DeepDiff": (
        "Sekhon A, Singh R, Qi Y. DeepDiff: DEEP-learning for predicting DIFFerential gene expression from "
        "histone modifications. Bioinformatics 34(17):i891-i900, 2018. doi:10.1093/bioinformatics/bty612"
    ),
    "bootstrap": (
        "Künsch HR. The jackknife and the bootstrap for general stationary observations. Annals of "
        "Statistics 17:1217-1241, 1989."
    ),
    "intervals": (
        "Hesterberg TC. What teachers should know about the bootstrap. The American Statistician "
        "69:371-386, 2015."
    ),
    "Holm": (
        "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics "
        "6:65-70, 1979."
    ),
    "Adam": "Kingma DP, Ba J. Adam: a method for stochastic optimization. ICLR 2015.",
}

_SETTINGS = {item.name for item in fields(Hyperparameters)}


def methods_text(results: Sequence[Result]) -> list[str]:
    """Paragraphs of the methods section."""
    configs = [result.run.config for result in results]
    models = [result for result in results if result.run.config.kind == DEEPDIFF]
    baselines = sorted({config.variant for config in configs if config.kind == BASELINE})
    paragraphs = [_data(configs)]
    if models:
        paragraphs.append(_models(models))
    if baselines:
        described = "; ".join(map(_described, baselines))
        paragraphs.append(f"They were compared with {described}." if models else f"Methods: {described}.")
    if prior := sorted({config.method for config in configs if has_prior(config.covariates)}):
        paragraphs.append(
            f"{', '.join(prior)}: beside the marks they read the mean and standard deviation of each gene's "
            "expression, log2(x + 1), over cells other than the pair's."
        )
    paragraphs.append(_accuracy(results))
    versions = sorted(
        {f"{name} {version}" for config in configs for name, version in config.versions.items()}
    )
    paragraphs.append(
        f"Software: {', '.join(versions)}. This report: diffchrom {__version__} on Python "
        f"{platform.python_version()}."
    )
    return paragraphs


def _accuracy(results: Sequence[Result]) -> str:
    """How intervals were made, and methods compared where there are several."""
    blocks = {result.resampled["blocks"] > 0 for result in results}
    drawn = "blocks of 5 Mb (Künsch 1989)" if all(blocks) else "genes"
    if len(blocks) > 1:
        drawn = "blocks of 5 Mb (Künsch 1989), or over genes where coordinates are not known"
    said = (
        "Accuracy is reported on the test genes, with expanded percentile intervals (Hesterberg 2015) from a "
        f"bootstrap over {drawn}."
    )
    labels: dict[tuple[str, tuple[str, str]], set[str]] = {}
    for result in results:
        labels.setdefault((result.group, result.pair), set()).add(result.label)
    if (most := max(map(len, labels.values()))) > 1:
        said += (
            " Methods were compared by the mean difference in Pearson's r, with its standard deviation over "
            "resamples drawn for both and Student's t"
            + (", and p-values corrected after Holm (1979)." if most > 2 else ".")
        )
    return said


def _data(configs: Sequence[RunConfig]) -> str:
    first = configs[0]
    window = first.window
    pairs = sorted({", ".join(config.pair) for config in configs})
    marks = list(dict.fromkeys(mark for config in configs for mark in config.marks))
    splits = sorted({config.split for config in configs})
    train, valid, test = (_n(first, part) for part in ("train", "valid", "test"))
    if first.folds:
        dealt = (
            f"Models were cross-validated over {first.folds} folds of "
            f"{'whole chromosomes' if first.split.startswith('chromosome') else 'genes'}: each was tested "
            f"on one fold, chosen on the next and trained on the others ({test} genes of known change)."
        )
    else:
        dealt = (
            "Genes were divided into training, validation and test genes by the "
            f"split{'s' if len(splits) > 1 else ''} {', '.join(splits)} (for {', '.join(first.pair)}: "
            f"{train}, {valid} and {test} genes of known change)."
        )
    return (
        f"Signal of {len(marks)} histone marks ({', '.join(marks)}) was averaged in {window.n_bins} bins of "
        f"{window.bin_size} bp around the transcription start site (±{window.flank:,} bp, {window.orient} "
        f"orientation) of each gene{_beyond(configs)}. The target was {_target(configs)} for "
        f"{count(len(pairs), 'pair')} of cells ({'; '.join(pairs)}). {dealt}"
    )


def _beyond(configs: Sequence[RunConfig]) -> str:
    """What was read beyond the bins around the TSS, and by whom."""
    readers = {config.variant: [name for name in config.regions if name != TSS] for config in configs}
    regions = list(dict.fromkeys(name for names in readers.values() for name in names))
    if not regions:
        return ""
    who = ", ".join(variant for variant, names in readers.items() if names)
    return f", and in windows of its {', '.join(regions)} ({who})"


def _target(configs: Sequence[RunConfig]) -> str:
    """What was predicted: changes derived from expression, changes of a table, or both."""
    tables = {config.pair: config.details.get("labels", {}).get("dialect", "") for config in configs}
    tools = sorted({dialect.removesuffix(" results") for dialect in tables.values() if dialect})
    units = sorted({config.unit for config in configs if not tables[config.pair]})
    named = [f"log2((B + 1) / (A + 1)) of expression ({', '.join(units)})"] if units else []
    if tools:
        pairs = "; ".join(", ".join(pair) for pair in sorted(tables) if tables[pair])
        where = f" ({pairs})" if units else ""
        named.append(f"the log2 fold change, B over A, that {' and '.join(tools)} estimated{where}")
    return " or ".join(named)


def _models(results: Sequence[Result]) -> str:
    """What was trained, from the configurations and histories of the runs, or of their folds."""
    trained = [made for result in results for made in _trained(result)]
    used = {result.run.config.variant for result in results}
    seeds = {result.run.config.seed for result in results}
    names = ", ".join(name for name in VARIANTS if name in used)
    own = [name for name, variant in VARIANTS.items() if variant.antisymmetric and name in used]
    ours = f"; diffchrom's own: {', '.join(own)}" if own else ""
    recipes = "; ".join(dict.fromkeys(filter(None, map(_recipe, trained))))
    counts = [n for made in trained for n in epochs_of(read_history(made))[0]]
    epochs = f"of the {_from_to(counts)} epochs that were made of each" if counts else "of the epochs"
    how = f"{count(len(seeds), 'seed')}{f' ({recipes})' if recipes else ''}"
    return (
        f"Models of the DeepDiff family (Sekhon et al. 2018; variants {names}{ours}) were trained with Adam "
        f"(Kingma and Ba 2015) and {how}; {epochs}, "
        "the weights of the one with the highest validation Pearson correlation were kept."
    )


def _trained(result: Result) -> list[Result]:
    """The run itself, or the runs of its folds that can be opened."""
    config = result.run.config
    folds = []
    for number in range(1, config.folds + 1):
        with suppress(RunError):
            folds.append(Result(Run.open(fold_folder(result.run.path, number))))
    return folds if config.folds else [result]


def _recipe(made: Result) -> str:
    """Hyper-parameters as they were with that run's number of training genes."""
    config = made.run.config
    values, n_train = config.hyperparameters, config.metrics.get("train", {}).get("n")
    if not values or n_train is None:
        return ""
    settings = Hyperparameters(**{name: values[name] for name in values if name in _SETTINGS})
    members = settings.ensemble or VARIANTS[config.variant].members if config.variant in VARIANTS else 1
    scaled = ", standardised by mark on the training genes" if settings.standardise else ""
    averaged = f", mean of {members} models" if members > 1 else ""
    return (
        f"{config.preset}: learning rate {settings.lr:g}, {settings.schedule}, batches of "
        f"{settings.batch_of(int(n_train))}, {settings.transform} signal{scaled}{averaged}"
    )


def _from_to(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _described(baseline: str) -> str:
    """A baseline with its summary and, where the table cites one, its paper."""
    if baseline not in METHODS:
        return baseline
    method = METHODS[baseline]
    cited = f"; {method.reference}" if re.search(r"\d{4}", method.reference) else ""
    return f"{baseline} ({method.summary}{cited})"


def _n(config: RunConfig, part: str) -> str:
    value = config.metrics.get(part, {}).get("n")
    return "?" if value is None else f"{int(value):,}"
