"""The model of InvokeEndpointAsync for SDKs that are older than its inline bodies.

The botocore that aioboto3 pins knows neither Body nor Filename; a program that sends inline with it
adds them, as ``dispatcher/aws/session.py`` does.
"""

from pathlib import Path
from typing import Any

import dispatcher

_EXTRAS = Path(dispatcher.__file__).parent / "aws" / "extras"


def teach(session: Any) -> Any:
    """Add what is missing to a session of botocore or aiobotocore; return the session."""
    session.get_component("data_loader").search_paths.append(str(_EXTRAS))
    return session
