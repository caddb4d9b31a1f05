"""Certificates of an authority of our own, made once for a process: for the target, for the client, and wrong ones."""

from __future__ import annotations

import atexit
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key


@dataclass(frozen=True)
class Certificates:
    """PEM files. `server` is for 127.0.0.1 and localhost, `elsewhere` for another name; both hold certificate and key."""

    ca: Path
    other_ca: Path
    server: Path
    elsewhere: Path
    client: Path
    client_cert: Path
    client_key: Path
    locked_key: Path

    def server_context(self, *, client_ca: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        if client_ca:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


@cache
def certificates() -> Certificates:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    root, ca, other = Path(folder.name), trustme.CA(), trustme.CA()
    made = Certificates(
        *(root / f"{name}.pem" for name in ("ca", "other_ca", "server", "elsewhere", "client", "cert", "key", "locked"))
    )
    ca.cert_pem.write_to_path(made.ca)
    other.cert_pem.write_to_path(made.other_ca)
    ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(made.server)
    ca.issue_cert("elsewhere.example").private_key_and_cert_chain_pem.write_to_path(made.elsewhere)
    client = ca.issue_cert("client.example")
    client.private_key_and_cert_chain_pem.write_to_path(made.client)
    client.cert_chain_pems[0].write_to_path(made.client_cert)
    client.private_key_pem.write_to_path(made.client_key)
    key = load_pem_private_key(client.private_key_pem.bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    made.locked_key.write_bytes(sealed)
    return made
