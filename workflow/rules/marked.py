"""Replaces what is drawn between two marks of a page."""

END = "<!-- end of the drawing -->\n"


def replaced(page: str, target: str, content: str) -> str:
    """Return a page with `content` after the mark of this make target, up to the next end.

    Raises ValueError where the page has no such marks.
    """
    begin = f"<!-- drawn by make {target} -->\n"
    head, found, rest = page.partition(begin)
    _, ended, tail = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"the page has no line {begin!r} with {END!r} after it")
    return head + begin + content + END + tail
