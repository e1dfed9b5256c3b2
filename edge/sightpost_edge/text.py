"""Words of others, such as a model's or a host's, made fit for terminals, tables and reports."""


def printable(text: str, *, most: int = 500) -> str:
    """Without what could steer a terminal, and no longer than ``most`` characters."""
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in cut)
