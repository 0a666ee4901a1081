"""What ends a run. What is wrong with one image is a `Failure`, a value and no exception."""


class ClientError(Exception):
    """No more images can be classified; the message says why and where."""


class ServerUnreachable(ClientError):
    """Nothing answers at the URL: no such host, nothing listens, or it stopped answering."""


class Unauthorized(ClientError):
    """The service requires an API key, or does not accept the one it got."""


class InvalidResponse(ClientError):
    """What answers at the URL does not answer as densenet-serve does."""


class StartupError(Exception):
    """The command cannot start as it was called; the message says why."""
