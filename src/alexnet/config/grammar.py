"""Quoting for Hydra's command line."""

import re


def quoted(text: str) -> str:
    """Quote a text as one value, including quotes, spaces and commas in it."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{trailing}'"
