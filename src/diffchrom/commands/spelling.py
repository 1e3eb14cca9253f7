"""What the library's messages name, as the shell spells it: a field as an option (see `errors`)."""

from __future__ import annotations

import re

_FIELD = re.compile(r"`([a-z]\w*(?:=[^`\n]*)?)`")
_PREPARE = re.compile(r"`prepare_store\(([^`\n]*)\)`")
#: Fields whose option has another name.
_OPTIONS = {"held_out": "hold-out", "part": "split", "splits": "split"}


def as_options(message: str) -> str:
    """Spell the fields of a message as options, and the calls of it as commands."""
    return _FIELD.sub(lambda found: _option(found[1]), _PREPARE.sub(_command, message))


def _command(call: re.Match[str]) -> str:
    return f"`diffchrom prepare {' '.join(map(_option, call[1].split(', ')))}`"


def _option(argument: str) -> str:
    field, equals, value = argument.partition("=")
    option = "--" + _OPTIONS.get(field, field).replace("_", "-")
    return f"{option} {value}" if equals and value != "..." else option
