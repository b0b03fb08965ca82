"""Compatibility of a configuration with the run that its ledger began.

A resumed run whose keys, payloads or results would come out differently is refused.
"""

import json
from typing import Any

from dispatcher.config.settings import Config
from dispatcher.errors import ConfigError
from dispatcher.ledger.ledger import Ledger


def check_compatible(config: Config, ledger: Ledger, *, force: bool) -> None:
    """Compare the configuration with the one that the run began with.

    Raises:
        ConfigError: It differs in a setting that would change keys, payloads or results.
    """
    # Until something was read, everything may be corrected.
    before = (ledger.marks and ledger.fact("terms")) or run_settings(config)
    changed = differences(before, run_settings(config), has_accepted=ledger.has_accepted)
    if changed and not force:
        raise ConfigError(
            f"the ledger {config.ledger.path} belongs to a run with another configuration: "
            f"{'; '.join(changed)}. Change it back to go on with that run, name another file in "
            "ledger.path to begin a new one, or give --force to go on all the same"
        )
    sent = json.loads(ledger.fact("packing") or "{}")
    if not sent and (framing := ledger.fact("framing")) is not None:
        sent = {"packing.framing": framing}  # the only setting that older ledgers recorded
    now = json.loads(payload_settings(config))
    now = json.dumps({name: now[name] for name in sent})
    changed = differences(json.dumps(sent), now, has_accepted=True)
    if changed and ledger.outstanding:
        raise ConfigError(
            f"{'; '.join(changed)}. That cannot change, nor be forced, while {ledger.outstanding} "
            "invocations are outstanding: their outputs are read as their records were sent, and "
            "a payload that is sent again must be the same. Change it back and finish the run first"
        )
    if config.staging.bucket is None and ledger.stages:
        raise ConfigError(
            "staging.bucket cannot be removed while payloads that need it are outstanding; set it "
            "again, and finish the run first"
        )


def payload_settings(config: Config) -> str:
    """Return the settings that must not change while anything is outstanding, as JSON.

    They decide how records become payloads, and how outputs are split among the records.
    """
    packing = config.packing
    is_compressed = any("+" in encoding for encoding in packing.encodings)
    settings = {
        **_packing(config),
        # Compressed payloads are filled by it, also when they are encoded again.
        "packing.max_bytes": packing.max_bytes if is_compressed else None,
        # A file is a record as it is, a line is JSON.
        "source.type": config.source.type,
    }
    return json.dumps(settings)


def _packing(config: Config) -> dict[str, Any]:
    packing, framing = config.packing, config.packing.answer.framing
    return {
        "packing.encodings": packing.encodings,
        "packing.framing": packing.framing,
        "packing.template": packing.template,
        "packing.select": packing.select,
        "packing.answer.framing": framing if framing != "auto" else None,
        "packing.answer.list": packing.answer.list or None,
        "packing.answer.id": packing.answer.id,
    }


def run_settings(config: Config) -> str:
    """Return the settings that must not change between the processes of one run, as JSON.

    A setting at the value that older versions always used counts as not set, so that their runs go
    on.
    """
    naming = config.request.output_naming
    settings: dict[str, Any] = {
        **_packing(config),
        "endpoint.name": config.endpoint.name,
        "source.type": config.source.type,
        "source.path": config.source.path,
        "source.queue_url": config.source.queue_url,
        "source.key": config.source.key,
        "source.compression": config.source.compression,
        "request.content_type": config.request.content_type,
        "request.accept": config.request.accept,
        "request.custom_attributes": config.request.custom_attributes,
        "request.output_naming": naming if naming != "chosen" else None,
        "packing.content_types": config.packing.content_types or None,
        "sink.type": config.sink.type,
        "sink.path": config.sink.path,
        "sink.queue_url": config.sink.queue_url,
        "sink.join": config.sink.join,
        "sink.select": config.sink.select,
        "sink.meta": config.sink.meta,
        "dead_letters.type": config.dead_letters.type,
        "dead_letters.path": config.dead_letters.path,
        "dead_letters.queue_url": config.dead_letters.queue_url,
    }
    return json.dumps(settings)


def differences(before: str, now: str, *, has_accepted: bool) -> list[str]:
    """Return the settings that changed, one sentence each.

    Files of lines may be added to the source.

    Args:
        before: Settings as JSON, as the run began with them.
        now: Settings as JSON, as they are now.
        has_accepted: The endpoint has accepted something; until then its name may be corrected.
    """
    old, new = json.loads(before), json.loads(now)
    changed = []
    for name in sorted(old.keys() | new.keys()):
        value, new_value = old.get(name), new.get(name)
        is_more = name == "source.path" and set(value or ()) <= set(new_value or ())
        # Which files are records is decided once, when the run begins.
        is_addition = is_more and new.get("source.type") != "files"
        is_correction = name == "endpoint.name" and not has_accepted
        if value != new_value and not is_addition and not is_correction:
            changed.append(f"{name} was {_shown(value)} and is now {_shown(new_value)}")
    return changed


def _shown(value: object) -> str:
    return "not set" if value is None else json.dumps(value)
