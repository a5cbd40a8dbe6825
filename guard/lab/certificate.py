"""TLS contexts for the lab, on a certificate made for this run and deleted with it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from guard.errors import LabError

TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLOUD_NAME = "*.cloud.example"  # RFC 2606: nobody's
_COMMAND = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    *("-nodes", "-days", "2", "-subj", "/CN=Wakeguard lab"),
    *("-addext", f"subjectAltName=DNS:{CLOUD_NAME}"),
)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a key and a self-signed certificate in ``directory``; return (certificate, key)."""
    certificate, key = directory / "cloud.pem", directory / "cloud.key"
    command = [*_COMMAND, "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise LabError("the lab needs openssl for its certificate: apt install openssl") from None
    except subprocess.CalledProcessError as error:
        raise LabError(f"openssl made no certificate: {error.stderr.strip().splitlines()[-1]}") from None
    return certificate, key


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the cloud's context: it speaks both versions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def client_context(certificate: Path, version: str) -> ssl.SSLContext:
    """Return an Echo's context: AES-GCM, one TLS version, trusting the lab's cloud alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    context.minimum_version = context.maximum_version = TLS_VERSIONS[version]
    context.set_ciphers("ECDHE+AESGCM")
    return context
