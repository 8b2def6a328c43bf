"""The root of every error that vecspect explains to its user in one line."""


class VecspectError(Exception):
    """Says what was expected, what came, and what to do next. Shown without a traceback."""


class BackboneError(VecspectError):
    """A backbone or its weights cannot be used."""


class ImageError(VecspectError):
    """One image cannot be read; the rest of the batch goes on."""
