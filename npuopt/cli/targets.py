"""`npuopt targets list | show ID | lint FILE | probe ID`."""

from __future__ import annotations

import typer

app = typer.Typer(help="The chips that npuopt knows.", no_args_is_help=True)
