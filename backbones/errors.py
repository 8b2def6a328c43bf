"""The root of every error that vecspect explains to its user in one line."""


class VecspectError(Exception):
    """An error that says, without a traceback, what was expected, what came and what to do next."""


class BackboneError(VecspectError):
    """Raised when a backbone or its weights cannot be used."""


class ImageError(VecspectError):
    """Raised when one image cannot be read; the rest of the batch goes on."""
