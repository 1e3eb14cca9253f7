"""Presets, and the options of `train` that put other hyper-parameters in their place."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from conftest import called
from diffchrom.config import PRESETS, Hyperparameters, hyperparameters
from diffchrom.deepdiff.building import build_model
from diffchrom.deepdiff.loss import Targets, contrastive_loss, total_loss
from diffchrom.errors import UsageError
from diffchrom.store.store import Store
from diffchrom.variants import VARIANTS

SIAMESE = [name for name, variant in VARIANTS.items() if variant.siamese]
#: An option and a value that no preset has.
OPTIONS = {
    "--hidden": ("hidden", 4),
    "--dropout": ("dropout", 0.25),
    "--cell-weight": ("cell_weight", 0.7),
    "--contrastive": ("contrastive", "paper"),
    "--contrastive-weight": ("contrastive_weight", 3.0),
    "--margin": ("margin", 1.5),
    "--change-threshold": ("change_threshold", 1.25),
}


def test_every_option_of_the_networks_reaches_the_run(toy_store: Store, tmp_path: Path) -> None:
    given = [word for option, (_, value) in OPTIONS.items() for word in (option, str(value))]
    command = ["train", "--store", str(toy_store.path), "--variant", "aux+siamese", "--pair", "A1,B2", "-q"]
    command += [*given, "--no-contrastive-dropout", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert called(command) == 0
    written = json.loads((tmp_path / "run" / "config.json").read_text())["hyperparameters"]
    wanted = dict(OPTIONS.values()) | {"contrastive_dropout": False, "epochs": 1}
    assert {name: written[name] for name in wanted} == wanted
    for name in ("lr", "transform", "batch_size", "patience"):
        assert written[name] == getattr(PRESETS["default"], name)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--contrastive", "squard", "choose one of squared, paper; did you mean squared?"),
        ("--hidden", "5", "give an even number"),
        ("--dropout", "1", "a share from 0 to below 1"),
    ],
)
def test_what_a_network_cannot_be_is_refused(
    toy_store: Store, option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--store", str(toy_store.path), "--pair", "A1,B2", option, value]
    assert called(command) == 2
    assert said in capsys.readouterr().err


def test_a_plan_is_held_to_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`hidden=3`: Level II"):
        hyperparameters("paper", hidden=3)


def test_the_preset_of_the_text_differs_from_that_of_the_code_where_the_text_says_so() -> None:
    text, code = PRESETS["paper"], PRESETS["published"]
    differing = {
        item.name for item in fields(Hyperparameters) if getattr(text, item.name) != getattr(code, item.name)
    }
    assert differing == {"contrastive", "contrastive_weight", "contrastive_dropout", "dropout"}
    assert (text.dropout, text.margin, text.change_threshold, text.hidden) == (0.5, 2, 2, 32)


@pytest.mark.parametrize("variant", SIAMESE)
def test_the_contrast_of_the_text_is_its_equation_while_training_too(variant: str) -> None:
    settings = hyperparameters("paper", hidden=4, cell_weight=0.0)
    torch.manual_seed(0)
    model = build_model(VARIANTS[variant], 2, settings).train()
    a, b = torch.rand(2, 6, 2, 20).unbind()
    log2fc = torch.tensor([0.0, 3.0, -2.0, 1.9, -5.0, 0.5])
    output = model(a, b)
    whole = model.eval()(a, b)
    expected = []
    for gene, change in enumerate(log2fc.tolist()):
        r = math.dist(whole.embeddings["A"][gene].tolist(), whole.embeddings["B"][gene].tolist())
        s = float(abs(change) >= 2)
        expected.append((1 - s) * r / 2 + s * max(0.0, 2 - r) ** 2 / 2)
    contrast = total_loss(output, Targets(log2fc, {}), settings) - total_loss(
        output, Targets(log2fc, {}), replace(settings, contrastive_weight=0.0)
    )
    assert contrast.item() == pytest.approx(sum(expected) / len(expected), rel=1e-3)


@pytest.mark.parametrize("variant", SIAMESE)
def test_dropout_of_the_compared_embeddings_keeps_equal_cells_apart(variant: str) -> None:
    torch.manual_seed(0)
    a = torch.rand(6, 2, 20)
    losses = []
    for dropped in (True, False):
        settings = hyperparameters("default", hidden=4, contrastive_dropout=dropped)
        output = build_model(VARIANTS[variant], 2, settings).train()(a, a)
        compared = output.embeddings["A"], output.embeddings["B"]
        losses.append(contrastive_loss(*compared, torch.zeros(6), settings).item())
    assert losses[0] > 1e-6
    assert losses[1] < 1e-8
