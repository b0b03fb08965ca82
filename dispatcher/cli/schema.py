"""``dispatcher schema``: the JSON Schema of the configuration."""

import json

import click

from dispatcher.cli.terminal import emit
from dispatcher.config.schema import config_schema


@click.command("schema", short_help="Print the JSON Schema of the configuration.")
def command() -> int:
    """Print the JSON Schema (draft 2020-12) of the configuration.

    Editors complete and check with it: save it as schema.json and begin the configuration with
    the line "# yaml-language-server: $schema=schema.json".
    """
    emit(json.dumps(config_schema(), indent=2, ensure_ascii=False))
    return 0
