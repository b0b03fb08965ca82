"""``schema`` prints the JSON Schema of the configuration."""

import json
from collections.abc import Callable

from click.testing import Result


def test_schema(cli: Callable[..., Result]) -> None:
    result = cli("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["$schema"].endswith("draft/2020-12/schema")
    assert result.stderr == ""
