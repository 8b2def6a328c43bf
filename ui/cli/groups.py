"""A group of commands whose modules are loaded when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperGroup

from ui.cli.table import ListedGroup, Table

_PLAIN: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def lazy_typer(
    panels: Table, callback: Callable[..., None], help_text: str, *, add_completion: bool = False
) -> typer.Typer:
    """A Typer of the commands of ``panels``, with a ``callback`` whose options are the group's."""
    group = type("Group", (LazyGroup,), {"panels": panels})
    made = typer.Typer(
        cls=group, help=help_text, add_completion=add_completion, no_args_is_help=True, **_PLAIN
    )
    made.callback()(callback)
    return made


class LazyGroup(TyperGroup):
    """Commands of ``panels``, which `--help` lists without loading them."""

    panels: ClassVar[Table] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return [name for panel in self.panels.values() for name in panel]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; an unknown name loads all, for the nearest to be suggested."""
        known = self.list_commands(ctx)
        for name in [cmd_name] if cmd_name in known else known:
            if name not in self.commands:
                self.add_command(self._loaded(name), name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and help lines of each panel, in columns of one width."""
        widest = max(map(len, self.list_commands(ctx)))
        for title, panel in self.panels.items():
            with formatter.section(title):
                formatter.write_dl([(f"{n:<{widest}}", one.help) for n, one in panel.items()])

    def _loaded(self, name: str) -> Any:
        found = next(panel[name] for panel in self.panels.values() if name in panel)
        if isinstance(found, ListedGroup):
            return typer.main.get_command(lazy_typer(found.panels, _nothing, found.help))
        module, _, function = found.target.partition(":")
        single = typer.Typer(add_completion=False, **_PLAIN)
        called = getattr(importlib.import_module(f"ui.cli.commands.{module}"), function)
        single.command(name)(called)
        return typer.main.get_command(single)


def _nothing() -> None:
    """Do nothing before a command of a group is called."""
