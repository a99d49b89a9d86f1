"""The field's words, and none of the private ones that docs/glossary.md has replaced."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("harpy", "jobs", "kernels", "docs", "examples")
INSTEAD = {
    r"\bsettle[ds]?\b": "grant, converge, agree, confirm or select",
    r"\bsurroundings\b": "environment",
    r"\bstrangers?\b": "unauthenticated connection",
    r"\bparted\b|\bparting\b": "network partition",
    r"\blooked at\b": "checked, polled, read or scored",
    r"\bMOST_[A-Z]|\bLEAST_[A-Z]": "MAX_, MIN_",
    r", too[.;:)]": "also, as well",
    r"\bwho is missing\b": "which ranks are missing",
}


def test_pages_and_code_use_the_words_of_the_glossary() -> None:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".py", ".java", ".md"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                for word, instead in INSTEAD.items():
                    if re.search(word, line, re.IGNORECASE if word.islower() else 0):
                        where = path.relative_to(ROOT)
                        found.append(f"{where}:{number}: say {instead}: {line.strip()}")
    assert not found, "\n".join(found)
