"""Texts that stand in figures."""

MAX_CLASSES_WITH_NAMES = 20  # of more classes than that the names are left out


def plain(text: object) -> str:
    """A text as it is: to matplotlib a dollar sign would begin a formula."""
    return str(text).replace("$", r"\$")


def verbatim(text: str) -> str:
    """Markdown that shows a text as it is: indented lines are a code block, in which nothing is interpreted."""
    return "\n".join("    " + line for line in text.splitlines())
