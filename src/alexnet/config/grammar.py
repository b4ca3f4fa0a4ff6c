"""Values as Hydra's command line reads them."""

import re


def quoted(text: str) -> str:
    """The text as one value, whatever quotes, spaces or commas it has."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{trailing}'"
