"""JSON pointers (RFC 6901): the path to a place in a document."""


def names_of(pointer: str) -> list[str]:
    """Return the names on the way to the place; none for the whole document.

    Args:
        pointer: Empty, or each name after a ``/``, with ``~1`` for ``/`` and ``~0`` for ``~``.
    """
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
