"""Words for pages and reports."""
import re


def plain(text: str) -> str:
    """Text that Markdown shows as it stands: the names of files are not ours, and may hold stars, dollars or links."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)  # what Markdown lets one escape: ASCII punctuation
