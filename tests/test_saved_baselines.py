"""A fitted baseline predicts the same once it was written and read; a file that is none is refused."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from baseline_data import examples, make_store, small
from diffchrom.baselines.method import Context
from diffchrom.baselines.methods import METHODS
from diffchrom.baselines.saved import load_fitted, save_fitted
from diffchrom.errors import DiffchromError, RunError
from diffchrom.files.records import RECORD
from diffchrom.pairs.pair import Pair


@pytest.fixture(scope="module")
def genes(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("saved") / "store.h5")
    return examples(Pair.of(store, ("A", "B")).load())


@pytest.fixture(scope="module")
def fitted(genes):
    """One fit of every method, made when it is first asked for."""
    made = {}

    def fit(name):
        if name not in made:
            method = small(name)
            train, valid = genes.take(slice(0, 100)), genes.take(slice(100, None))
            made[name] = method.fit(train, valid, method.grid(), Context())
        return made[name]

    return fit


@pytest.fixture(scope="module")
def whole(fitted, tmp_path_factory):
    """Path of one written fit of every method."""
    folder = tmp_path_factory.mktemp("whole")

    def written(name):
        path = folder / name
        if not path.exists():
            save_fitted(path, fitted(name))
        return path

    return written


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_predicts_to_the_last_bit_what_it_did_before_it_was_written(name, fitted, whole, genes):
    before, loaded = fitted(name), load_fitted(whole(name))
    expected, predicted = before.predict(genes.without_labels()), loaded.predict(genes.without_labels())
    np.testing.assert_array_equal(predicted.log2fc, expected.log2fc)
    assert predicted.expression.keys() == expected.expression.keys()
    for cell, values in expected.expression.items():
        np.testing.assert_array_equal(predicted.expression[cell], values)
    assert loaded.chosen == before.chosen


@pytest.mark.parametrize("name", METHODS)
def test_the_same_fit_gives_the_same_bytes_and_so_does_what_was_read(name, fitted, whole, tmp_path):
    save_fitted(tmp_path / "again", fitted(name))
    save_fitted(tmp_path / "read", load_fitted(whole(name)))
    assert (tmp_path / "again").read_bytes() == whole(name).read_bytes() == (tmp_path / "read").read_bytes()


@pytest.mark.parametrize("name", METHODS)
def test_damaged_files_are_refused_in_one_line_or_predict(name, whole, genes, tmp_path):
    content, chance, path = whole(name).read_bytes(), random.Random(8), tmp_path / "damaged"
    refused = []
    for _ in range(60):
        data = bytearray(content)
        for _ in range(chance.choice((1, 4, 64))):
            # Half of the bytes hit the description, which is far smaller than the arrays.
            end = chance.choice((len(data), min(len(data), 2000)))
            data[chance.randrange(end)] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        try:
            load_fitted(path)
        except RunError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all("\n" not in message and len(message) < 600 for message in refused)


def rewritten(path, target, change):
    """Write the file again with its description and its arrays changed in place by `change`."""
    with safe_open(path, framework="np") as file:
        described = json.loads(file.metadata()[RECORD])
    arrays = load_file(path)
    change(described, arrays)
    save_file(arrays, target, {RECORD: json.dumps(described)})
    return target


SETTINGS = "fields.settings.fields"
#: Method, place in the file's description, what is written there, what the refusal says.
DESCRIPTIONS = {
    "a type that is no baseline": ("mean", "value.type", "Popen", "Popen is no baseline"),
    "a module": ("mean", "value.type", "os", "os is no baseline"),
    "a type elsewhere": ("ridge", "value.fields.fit.type", "Scaler", "Scaler where RidgeFit belongs"),
    "a field that the type lacks": ("mean", "value.fields.more", 1, "more"),
    "no fields": ("mean", "value.fields", {}, "value"),
    "text as a number": ("mean", "value.fields.value", "1", "value is no float"),
    "a number that is none": ("mean", "value.fields.value", float("nan"), "value is no float"),
    "a number without bounds": ("ridge", "value.fields.features.fields.merge", 10**30, "too large"),
    "many marks": ("deepchrome", "value.fields.network.fields.n_marks", 10**12, "fewer weights than marks"),
    "many units": ("attentivechrome", f"value.fields.networks.0.{SETTINGS}.hidden", 10**15, "RuntimeError"),
    "other units": ("attentivechrome", f"value.fields.networks.0.{SETTINGS}.hidden", 10, "not those of the"),
    "a network that is none": ("deepchrome", "value.fields.network.fields.network", "os", "no network"),
    "a transform that is none": ("deepchrome", "value.fields.transform.fields.function", "eval", "'eval'"),
    "no list": ("svr-two-layer", "value.fields.bins", {}, "bins is no list"),
    "an empty list": ("svr-two-layer", "value.fields.bins", [], "layers differ"),
    "a later version": ("mean", "version", 2, "version 2 is newer than this diffchrom reads"),
}
#: Method, array, what it becomes, what the refusal says.
ARRAYS = {
    "of other numbers": ("ridge", "fit.coefficients", lambda array: array.astype(np.float32), "float64"),
    "with NaN": ("ridge", "fit.coefficients", lambda array: array * np.nan, "float64"),
    "of another shape": ("ridge", "features.a.mean", lambda array: array[:, None].copy(), "differ"),
    "shorter than its fellows": ("svr-best-bin", "support.weights", lambda array: array[1:], "differ"),
    "of trees without end": ("random-forest", "trees.right", lambda array: array * 0 + 1, "tree"),
}


@pytest.mark.parametrize("what", DESCRIPTIONS)
def test_a_hostile_description_is_refused_in_one_line_that_says_why(what, whole, tmp_path):
    name, place, value, why = DESCRIPTIONS[what]
    *route, last = place.split(".")

    def change(node, _):
        for key in route:
            node = node[int(key) if key.isdigit() else key]
        node[last] = value

    refused(rewritten(whole(name), tmp_path / "hostile", change), why)


@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_that_does_not_fit_is_refused_in_one_line_that_says_why(what, whole, tmp_path):
    name, array, altered, why = ARRAYS[what]
    path = rewritten(whole(name), tmp_path / "hostile", lambda _, a: a.update({array: altered(a[array])}))
    refused(path, why)


def test_an_array_that_is_absent_is_named(whole, tmp_path):
    path = rewritten(whole("ridge"), tmp_path / "hostile", lambda _, arrays: arrays.pop("fit.coefficients"))
    refused(path, "fit.coefficients")


def refused(path, why):
    with pytest.raises(RunError, match=f"hostile: holds no fitted baseline.*{why}.*fit it again") as raised:
        load_fitted(path)
    assert "\n" not in str(raised.value)


def test_a_pickle_is_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    path = tmp_path / "fitted.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError, match="no fitted baseline"):
        load_fitted(path)
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_is_absent_or_far_too_large_is_not_read(tmp_path):
    with pytest.raises(RunError, match="missing; fit the baseline again"):
        load_fitted(tmp_path / "none")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)  # sparse: takes no room
    with pytest.raises(RunError, match="larger than 8 GiB"):
        load_fitted(tmp_path / "huge")


def test_reading_a_linear_fit_loads_neither_torch_nor_scikit_learn(whole):
    script = f"""
import sys
from diffchrom.baselines.saved import load_fitted
load_fitted({str(whole("ridge"))!r})
print(sorted({{"torch", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_a_fit_from_other_cells_needs_them_to_predict(whole, genes):
    with pytest.raises(DiffchromError, match="third cell"):
        load_fitted(whole("cell-mean")).predict(replace(genes, change_elsewhere=None))


def test_what_was_read_predicts_with_the_threads_it_is_given(whole, genes):
    one, two = (load_fitted(whole("svr-two-layer"), threads=number) for number in (1, 2))
    assert (one.threads, two.threads) == (1, 2)
    np.testing.assert_array_equal(one.predict(genes).log2fc, two.predict(genes).log2fc)


@pytest.mark.parametrize("name", ["attentivechrome", "deepchrome"])
def test_reading_and_predicting_draw_no_random_number(name, whole, genes):
    import torch

    before = torch.random.get_rng_state()
    load_fitted(whole(name)).predict(genes)
    assert torch.equal(before, torch.random.get_rng_state())
