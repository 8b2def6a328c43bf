"""Page."""


def show() -> None:
    """The page."""
