"""Where a secret is found, and reading it. A secret itself stands in no configuration, log or message."""

import os
from pathlib import Path

import msgspec

from interlock.errors import LocalError

CREDENTIAL_BYTES_MAX = 16 * 1024


class Credential(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a key is found: exactly one is set."""

    env: str = ""
    file: str = ""


def read_credential(credential: Credential) -> str:
    """The key, from where the policy says it is.

    Raises: LocalError: it is not there. The message names the place, never the content.
    """
    if credential.env:
        secret, place = os.environ.get(credential.env, ""), f"environment variable {credential.env}"
    else:
        place = f"file {credential.file}"
        try:
            with Path(credential.file).open("rb") as file:
                secret = file.read(CREDENTIAL_BYTES_MAX).decode().strip()
        except (OSError, ValueError) as error:
            raise LocalError(f"credential_missing: {place} cannot be read", field="credential") from error
    if not secret:
        raise LocalError(f"credential_missing: {place} is not set", field="credential")
    if not secret.isascii() or not secret.isprintable():
        raise LocalError(f"credential_missing: {place} holds characters that no header may have", field="credential")
    return secret
