"""Identities of clouds whose tokens come from a server on this machine."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from interlock.clock import SystemClock

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def google_file(directory: Path, **content: object) -> Path:
    path = directory / "credentials.json"
    path.write_bytes(msgspec.json.encode(content))
    return path


def service_account(directory: Path, url: str) -> Path:
    """The file of a Google service account, whose tokens are made at `url`."""
    return google_file(
        directory,
        type="service_account",
        project_id="p",
        private_key_id="k",
        private_key=PEM,
        client_email="a@p.iam.gserviceaccount.com",
        token_uri=f"{url}/token",
    )


def managed_identity(environment: pytest.MonkeyPatch, url: str) -> None:
    """An Azure App Service's identity, whose tokens are made at `url`."""
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "IDENTITY_SERVER_THUMBPRINT"):
        environment.delenv(name, raising=False)
    environment.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
    environment.setenv("IDENTITY_HEADER", "nonce")
    environment.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")


def azure_token(token: str, lives_s: int = 3600) -> dict[str, object]:
    """What its server answers."""
    expires_on = SystemClock.now_ns() // 1_000_000_000 + lives_s
    return {"access_token": token, "expires_on": str(expires_on), "resource": "r", "token_type": "Bearer"}
