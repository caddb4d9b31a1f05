"""TLS contexts from PEM files: who is trusted, and who we say we are. The files' paths travel; what is in them never does.

TLS 1.2 or newer, HTTP/1.1 by ALPN, no session is resumed: every connection makes a whole handshake.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from clipload.errors import PlanError
from clipload.plan import Plan


def client_context(plan: Plan) -> ssl.SSLContext | None:
    """None when no base URL is https. PlanError, naming the flag, when a file cannot be had or is not what it should be."""
    if not plan.tls:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if plan.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif plan.cacert:
        trust(context, plan.cacert, "--cacert")
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if plan.cert:
        present(context, plan.cert, plan.cert_key, "--cert", "--cert-key")
    return context


def server_context(cert: str, key: str, client_ca: str) -> ssl.SSLContext:
    """The reference server's. With `client_ca` it talks to nobody without a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    present(context, cert, key, "--tls-cert", "--tls-key")
    if client_ca:
        trust(context, client_ca, "--tls-client-ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def trust(context: ssl.SSLContext, file: str, flag: str) -> None:
    """The authorities of `file`."""
    try:
        context.load_verify_locations(cadata=_read(file, flag))
    except (ssl.SSLError, ValueError) as error:
        what = f"{file} holds no certificate: {_said(error)}"
        raise PlanError(what, flag=flag, remedy="name a PEM file of certificates") from error


def present(context: ssl.SSLContext, cert: str, key: str, cert_flag: str, key_flag: str) -> None:
    """The certificate that we show, and its key, which may stand in the same file."""
    _read(cert, cert_flag)
    if key:
        _read(key, key_flag)

    def no_password() -> str:
        what = f"the key in {key or cert} is protected by a password"
        raise PlanError(what, flag=key_flag, remedy="write it without one into a file that only you can read")

    def path(file: str) -> Path:
        return Path(file).expanduser()

    try:
        context.load_cert_chain(path(cert), path(key) if key else None, password=no_password)
    except ssl.SSLError as error:
        if not _is_certificate(cert):
            raise PlanError(f"{cert} holds no certificate", flag=cert_flag, remedy="name a PEM file") from error
        what = f"{key or cert} holds no key of the certificate in {cert}: {_said(error)}"
        raise PlanError(what, flag=key_flag, remedy="name the PEM file of its key") from error


def _is_certificate(file: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(Path(file).expanduser())
    except ssl.SSLError:
        return False
    return True


def _read(file: str, flag: str) -> str:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise PlanError(f"cannot read {file}: {why}", flag=flag, remedy="name a readable PEM file") from error


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
