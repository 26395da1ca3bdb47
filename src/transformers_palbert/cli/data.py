"""``palbert data``: what a data set contains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import JsonOption, make_table, show, write_json

data_app = typer.Typer(help="Look at data sets.", no_args_is_help=True)
