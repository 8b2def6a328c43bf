"""Pages and tables of measurements: templates, Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=jinja2.select_autoescape(["html.j2"]),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters["fixed"] = format


def page(template: str, **values: Any) -> str:
    """A page made from a template, in Markdown or HTML."""
    return TEMPLATES.get_template(f"{template}.j2").render(values)


def markdown_table(heads: str, rows: Iterable[str]) -> str:
    """A Markdown table of lines whose cells are separated by ``" | "``."""
    rule = " | ".join(["---"] * (heads.count(" | ") + 1))
    return "\n".join(f"| {line} |" for line in (heads, rule, *rows))


def write_csv(rows: Sequence[DataclassInstance], file: Path) -> None:
    """Write equal dataclasses to CSV, one line each, under the names of their fields."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(field.name for field in fields(rows[0]))
        writer.writerows(map(astuple, rows))
