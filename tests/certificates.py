"""Certificates for tests, made by the `openssl` program: good ones, and some that are wrong."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from kinds import FACTOR

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60 * FACTOR)


@dataclass(frozen=True, slots=True)
class Certificate:
    certificate: Path
    key: Path

    def server(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        """The context of a server that has this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def client(self, alpn: list[str] | None = None) -> ssl.SSLContext:
        """The context of a client that trusts it."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


@cache
def certificate(name: str = "localhost", days: int = 30) -> Certificate:
    """A self-signed certificate for a name; with negative days it has expired."""
    folder = Path(mkdtemp(prefix="tonio-certificates-"))
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    request = folder / "request.pem"
    names = f"subjectAltName=DNS:{name},IP:127.0.0.1"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={name}", "-keyout", str(made.key)]
    _openssl("req", "-new", *curve, *subject, "-out", str(request))
    extensions = folder / "extensions"
    extensions.write_text(f"{names}\nbasicConstraints=critical,CA:true\n")
    _openssl(
        *("x509", "-req", "-in", str(request), "-signkey", str(made.key)),
        *("-days", str(days), "-extfile", str(extensions), "-out", str(made.certificate)),
    )
    return made
