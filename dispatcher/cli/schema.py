"""``dispatcher schema``: the JSON Schema of the configuration."""

import json

import click

from dispatcher.cli.terminal import write_data
from dispatcher.config.schema import config_schema


@click.command("schema", short_help="Print the JSON Schema of the configuration.")
def command() -> int:
    """Print the JSON Schema (draft 2020-12) of the configuration.

    Editors use it to complete and check: save it as schema.json and begin the configuration with
    the line "# yaml-language-server: $schema=schema.json".
    """
    write_data(json.dumps(config_schema(), indent=2, ensure_ascii=False))
    return 0
