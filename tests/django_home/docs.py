"""The code in the docs, so that tests can run it."""

import re

from tests.support import ROOT


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language in docs/`page`, in order."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
