"""What to call the runs of a comparison: their method, and as little as tells it from others of its name.

Runs are of one method when they differ in nothing but seed, fold and the data of their pair. Anything else is
another method with another label, and is never averaged with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diffchrom.config import PRESETS
from diffchrom.runs.differences import facts
from diffchrom.runs.folder import Run
from diffchrom.variants import VARIANTS

#: Facts that do not make another method: repeats of it, and the data that it was given.
_NOT_OF_METHOD = ("variant", "pair", "split", "folds", "seed", "store", "unit", "window")
#: The order in which facts tell methods of one name apart; the others follow.
_ORDER = ("preset", "marks", "regions", "ensemble", "aux_task", "epochs")
#: What the store has may differ from pair to pair without anybody having asked for another method: these make
#: another method only where they differ on one pair.
_OF_PAIR = ("marks", "regions")
#: Longer values are numbered instead.
_LONGEST = 24

Facts = Mapping[str, Any]


def _window(value: Sequence[tuple[str, Any]]) -> str:
    window = dict(value)
    return f"+/-{window['flank']} bp, {window['bin_size']} bp bins, {window['orient']} orientation"


#: How a fact is said, the shortest way first; the others are said by name and value.
_FORMS: Mapping[str, tuple[Callable[[Any], str], ...]] = {
    "preset": (str,),
    "marks": (lambda marks: f"{len(marks)} mark{'s' if len(marks) > 1 else ''}", "+".join),
    "regions": ("+".join,),
    "window": (_window,),
    "tested": (str,),
}


def said(name: str, values: Sequence[Any]) -> list[str]:
    """Words for different values of a fact, as short as tells them apart; numbers where none is short."""
    spoken = name.replace("_", " ")
    for form in _FORMS.get(name, (lambda value: f"{spoken} {value}",)):
        words = [f"no {spoken}" if value in (None, "") else form(value) for value in values]
        if len(set(words)) == len(words) and (name in _FORMS or max(map(len, words)) <= _LONGEST):
            return words
    return [f"{spoken} {number}" for number, _ in enumerate(values, 1)]


def tell_apart(
    items: Sequence[Facts],
    order: Sequence[str],
    matters: Callable[[str, Sequence[Facts]], bool] = lambda name, among: True,
) -> list[dict[str, str]]:
    """For each of the items, the fewest words, by fact, by which it differs from the others.

    Facts are tried in `order`: where items differ in one, it is said of all of them, and those that agree in
    it are told apart by the facts that follow.

    Parameters
    ----------
    matters : ``(fact, items) -> bool``: whether a fact in which they differ tells them apart.
    """
    words: list[dict[str, str]] = [{} for _ in items]

    def divide(members: Sequence[int], names: Sequence[str]) -> None:
        for position, name in enumerate(names):
            values = list(dict.fromkeys(items[i].get(name) for i in members))
            if len(values) < 2 or not matters(name, [items[i] for i in members]):
                continue
            for value, word in zip(values, said(name, values), strict=True):
                agreeing = [i for i in members if items[i].get(name) == value]
                for i in agreeing:
                    words[i][name] = word
                divide(agreeing, [*names[:position], *names[position + 1 :]])
            return

    divide(range(len(items)), order)
    return words


def label_runs(runs: Sequence[Run], alike: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Label runs by their method.

    Parameters
    ----------
    alike : further facts that do not make another method.

    Returns
    -------
    labels : of each run; the variant or baseline, and in brackets what tells it from others of its name.
    notes : what differs and no label says.
    """
    known = [facts(run.config) for run in runs]
    labels, notes = [""] * len(runs), []
    unsaid: dict[str, list[str]] = {}
    methods = [run.config.method for run in runs]
    for variant in dict.fromkeys(methods):
        members = [i for i, method in enumerate(methods) if method == variant]
        its = [known[i] for i in members]
        names = dict.fromkeys((*_ORDER, *(name for one in its for name in one)))
        order = [name for name in names if name not in (*_NOT_OF_METHOD, *alike)]
        words = tell_apart(its, order, _makes_another_method)
        for i, word in zip(members, words, strict=True):
            labels[i] = f"{variant} ({', '.join(word.values())})" if word else variant
        named = {name for word in words for name in word}
        between, hidden = _unnamed(its, [labels[i] for i in members], [n for n in order if n not in named])
        notes += [f"{label}: {', '.join(names)} differ between its pairs" for label, names in between.items()]
        if hidden:
            unsaid.setdefault(", ".join(hidden), []).append(variant)
    notes += [
        f"runs of {', '.join(variants)} differ in {names} too, which their labels do not say"
        for names, variants in unsaid.items()
    ]
    return labels, notes


def _makes_another_method(name: str, runs: Sequence[Facts]) -> bool:
    if name not in _OF_PAIR:
        return True
    of_pair: dict[Any, set[Any]] = {}
    for one in runs:
        of_pair.setdefault(one["pair"], set()).add(one[name])
    return any(len(values) > 1 for values in of_pair.values())


def _unnamed(
    runs: Sequence[Facts], labels: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Those of the facts `names` in which runs of one label differ, by label, and those in which labels do.

    What the preset gives is said by the preset.
    """
    differing = [name for name in names if len({one.get(name) for one in runs}) > 1]
    between = {}
    for label in dict.fromkeys(labels):
        own = [one for one, its in zip(runs, labels, strict=True) if its == label]
        if inside := [name for name in differing if len({one.get(name) for one in own}) > 1]:
            between[label] = inside
    apart = [name for name in differing if all(name not in inside for inside in between.values())]
    return between, [name for name in apart if not all(_is_of_preset(one, name) for one in runs)]


def _is_of_preset(run: Facts, name: str) -> bool:
    """Whether a hyper-parameter has the value that the preset gives it."""
    if run["preset"] not in PRESETS or run["variant"] not in VARIANTS:
        return False
    values = PRESETS[run["preset"]].to_dict()
    values["ensemble"] = VARIANTS[run["variant"]].ensemble_size(values["ensemble"])
    return name in values and run.get(name) == values[name]
