"""Pages made of the code: a page a command from Typer, and the public names of the Python library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

import diffchrom
from diffchrom.cli import app as commands
from diffchrom.commands.help import ADVANCED, EXAMPLES, panel_of

FOLDER = "generated"


def _cell(text: str) -> str:
    for character in "\\|<>*_`[]$":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def command_page(name: str, command: Any) -> str:
    """A command's page: what it does, examples, its options by panel."""
    context = typer.Context(command, info_name=f"diffchrom {name}")
    lines = [f"# diffchrom {name}", "", command.help or "", "", "```console"]
    lines += [f"$ diffchrom {example}" for example in EXAMPLES.get(name, ())] + ["```"]
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            panels.setdefault(panel_of(name, parameter), []).append(record)
    for panel in sorted(panels, key=lambda heading: heading == ADVANCED):
        lines += ["", f"## {panel}", "", "| option | what it does |", "|---|---|"]
        lines += [f"| {_cell(option)} | {_cell(text)} |" for option, text in panels[panel]]
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """A page of the names that ``import diffchrom`` offers."""
    lines = [
        "# Names of the library",
        "",
        "What `import diffchrom` offers; [a tour](../api.md) shows it at work.",
        "",
    ]
    for name in diffchrom.__all__:
        value = getattr(diffchrom, name)
        if isinstance(value, str):
            continue
        kind = "class" if isinstance(value, type) else "function"
        lines += ["```{eval-rst}", f".. auto{kind}:: {value.__module__}.{value.__qualname__}"]
        lines += ["   :members:", "   :inherited-members: object"] if kind == "class" else []
        lines += ["```", ""]
    return "\n".join(lines)


def write(app: Any) -> None:
    """Write the pages; one that has not changed stays as it is."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    group = typer.main.get_command(commands)
    pages = {f"commands/{name}.md": command_page(name, command) for name, command in group.commands.items()}
    pages["python.md"] = api_page()
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
