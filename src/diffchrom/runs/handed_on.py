"""A model in one file, to be handed on: what ``config.json`` says, its weights and its card (docs/runs.md).

It is a safetensors file whose metadata have one key, `KEY`: a JSON object of `FORMAT`. The file may come from
anybody: sizes are checked before anything is allocated, and nothing in it is run.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffchrom.config import NORMALISE
from diffchrom.errors import RunError
from diffchrom.files.whole import staged

if TYPE_CHECKING:
    from diffchrom.runs.folder import Run

#: How such files are called, so that `info` tells them from stores.
SUFFIX = ".diffchrom"
KEY, FORMAT, VERSION = "diffchrom-model", "diffchrom-model", 1
#: Most bytes of the header, which holds the configuration, the card, and a line a tensor.
MAX_HEADER_BYTES = 32 * 1024 * 1024
#: What the configuration says of the machine that trained it, which is nobody's business.
_PRIVATE = "path"


def read_config(path: Path) -> str:
    """Text of the configuration in a model's file, as ``config.json`` has it.

    Raises
    ------
    ValueError
        When the file is no model, is newer than this version, or its configuration asks for more weights
        than it has bytes.
    OSError
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError("no safetensors file, or one with an impossibly large header")
        metadata = json.loads(file.read(length)).get("__metadata__", {})
    if KEY not in metadata:
        raise ValueError(f"a safetensors file without {KEY}")
    values = json.loads(metadata[KEY])
    if values["format"] != FORMAT or int(values["version"]) > VERSION:
        raise ValueError(f"{values['format']} {values['version']}; this diffchrom reads {FORMAT} {VERSION}")
    config = values["config"]
    settings = config["hyperparameters"]
    # Every member has hidden x hidden weights and its trees have nodes: more than the file holds is no honest
    # claim.
    least = int(settings["hidden"]) ** 2 + abs(int(settings.get("trees", 0)))
    if 4 * least * int(settings.get("ensemble") or 1) > size:
        raise ValueError("its configuration claims more weights than the file holds")
    return json.dumps(config)


def write_model(run: Run, path: Path, card: str) -> None:
    """Write a finished run's model into one file; the same run gives the same bytes.

    Raises
    ------
    RunError
        When it is a baseline, a cross-validation or somebody's own module, or its weights cannot be read.
    OutputError
        When the file cannot be written; then there is none.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save

    config = run.config
    if config.kind != "deepdiff" or config.folds:
        what = "a cross-validation" if config.folds else f"a {config.kind} ({config.variant})"
        raise RunError(f"{run.path}: is {what}; a model that `diffchrom train` made can be handed on")
    if config.normalise != NORMALISE[0]:
        raise RunError(f"{run.path}: reads signal normalised to its own cells; its folder can be handed on")
    store = {name: value for name, value in config.store.items() if name != _PRIVATE}
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.loads(replace(config, store=store).to_json()),
        "card": card,
    }
    try:
        weights = load_file(run.weights)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{run.weights}: cannot be read ({error}); train it again") from error
    content = save(weights, {KEY: json.dumps(values)})
    with staged(path) as temporary:
        temporary.write_bytes(content)
