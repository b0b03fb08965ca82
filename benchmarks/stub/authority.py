"""A certificate authority that lives as long as the stub, made with the ``openssl`` command."""

import ssl
import subprocess
from pathlib import Path

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


def make_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the context of a server on 127.0.0.1 and localhost, and the CA to trust.

    Keys are on P-256, as those of AWS's own endpoints may be: handshakes are before the
    measurement, and the cipher of the records is the same with any key.
    """
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    leaf, leaf_key = folder / "leaf.pem", folder / "leaf.key"
    _openssl(
        *("-keyout", authority_key, "-out", authority, "-subj", "/CN=benchmark authority"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    _openssl(
        *("-CA", authority, "-CAkey", authority_key),
        *("-keyout", leaf_key, "-out", leaf, "-subj", "/CN=localhost"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf, leaf_key)
    return context, authority


def _openssl(*arguments: str | Path) -> None:
    command = ["openssl", "req", "-x509", *_CURVE, *map(str, arguments)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit(f"openssl made no certificate: {made.stderr}")
