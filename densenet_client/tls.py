"""How the certificate of an https service is checked."""

import os
import ssl

from densenet_client.errors import ClientError

Verify = bool | str | os.PathLike[str]
"""True: by the authorities that this machine trusts. A path: by those in that file (PEM).
False: not at all, so that anybody in between can read and change what is sent."""


def make_context(verify: Verify) -> ssl.SSLContext:
    """Raises ClientError if the file holds no certificates."""
    if isinstance(verify, bool):
        context = ssl.create_default_context()
        context.check_hostname = verify
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:  # SSLError is one
        raise ClientError(f"{os.fspath(verify)} holds no certificates: {error}") from error
