"""A model in one file, to be handed on: what ``config.json`` says, its weights and its card (docs/runs.md).

It is a safetensors file whose metadata have the key `KEY`: a JSON object of `FORMAT`. What the signal was
like that a model of several pairs, or of normalised signal, learnt from is a record beside its weights. The
file may come from anybody: sizes are checked before anything is allocated, and nothing in it is run.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

#: How such files are called, so that `info` tells them from stores.
SUFFIX = ".diffchrom"
KEY, FORMAT, VERSION = "diffchrom-model", "diffchrom-model", 2
#: Version of files that hold a model alone, and the path of the signal that was learnt from in the others.
MODEL_ALONE, SIGNAL_AT = 1, ("signal",)
#: Most bytes of the header, which holds the configuration, the card, and a line a tensor.
MAX_HEADER_BYTES = 32 * 1024 * 1024


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
