"""Options that take every following value, as globs need (``--bigwigs E116/*.bw``), or just one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from diffchrom.commands.help import write_examples, write_options

#: Under this key ``ctx.meta`` holds, for each greedy option, how many values each of its uses had.
GROUP_SIZES = "diffchrom.group_sizes"


def expand(args: Sequence[str], greedy: Collection[str]) -> tuple[list[str], dict[str, list[int]]]:
    """Turn ``--bigwigs a b --bigwigs c`` into ``--bigwigs a --bigwigs b --bigwigs c``.

    Values end at the next token that starts with ``-`` (a lone ``-`` is a value) or at ``--``, after which
    nothing is changed. ``--bigwigs=a`` is a group that may go on.

    Returns
    -------
    expanded : list of str
    sizes : dict
        For each greedy option in `args`, the number of values of each of its uses; 0 for one without values.
    """
    expanded: list[str] = []
    sizes: dict[str, list[int]] = {}
    current = ""
    for position, token in enumerate(args):
        if token == "--":
            expanded.extend(args[position:])
            break
        name, equals, value = token.partition("=")
        if name in greedy:
            current = name
            sizes.setdefault(name, []).append(1 if equals else 0)
            if equals:
                expanded.extend([name, value])
        elif len(token) > 1 and token.startswith("-"):
            current = ""
            expanded.append(token)
        elif current:
            sizes[current][-1] += 1
            expanded.extend([current, token])
        else:
            expanded.append(token)
    return expanded, sizes


class OnceCommand(TyperCommand):
    """A command that refuses an option of one value that is given twice, instead of taking the last.

    Its help has a section for each ``rich_help_panel``, which Typer shows only with rich.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; see `click.Command.parse_args`."""
        words = [word.partition("=")[0] for word in args[: args.index("--") if "--" in args else None]]
        for parameter in self.params:
            several = getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", False)
            uses = 0 if several else sum(words.count(name) for name in parameter.opts)
            if parameter.param_type_name == "option" and uses > 1:
                raise typer.BadParameter(f"{parameter.opts[0]} is given {uses} times; it takes one value")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options in panels; see `click.Command.format_options`."""
        write_options(str(self.name), self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write examples; see `click.Command.format_epilog`."""
        write_examples(str(self.name), formatter)


def greedy_command(*names: str) -> type[TyperCommand]:
    """Return a command class whose options `names` (``--bigwigs``, ...) take all values that follow.

    Such options are declared as lists; the command must have no positional arguments.
    """

    class GreedyCommand(OnceCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            expanded, sizes = expand(args, names)
            for name, groups in sizes.items():
                if 0 in groups:
                    raise typer.BadParameter(f"{name} needs at least one file (did a glob match nothing?)")
            ctx.meta[GROUP_SIZES] = sizes
            return super().parse_args(ctx, expanded)

    return GreedyCommand
