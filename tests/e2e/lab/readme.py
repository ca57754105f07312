# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fenced blocks of the README and of what it leaves to contrib/doc, for tests that run what stands there."""
import os
import textwrap
from typing import NamedTuple

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
FILES = ("README.md", "contrib/doc/ways.md")


class Block(NamedTuple):
    heading: str
    language: str
    number: int  # among those of its language below its heading
    text: str


def whole_text():
    text = ""
    for name in FILES:
        with open(f"{TOP}/{name}", encoding="utf-8") as file:
            text += file.read()
    return text


def every_block():
    lines = iter(whole_text().splitlines())
    found = []
    heading = ""
    for line in lines:
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif line.lstrip().startswith("```"):
            language = line.strip().removeprefix("```")
            text = []
            while (inside := next(lines)).strip() != "```":
                text.append(inside)
            number = sum((block.heading, block.language) == (heading, language) for block in found)
            found.append(Block(heading, language, number, textwrap.dedent("\n".join(text)) + "\n"))
    return found


def blocks(heading, language):
    """The texts of the blocks of one language below a heading."""
    found = [block.text for block in every_block() if (block.heading, block.language) == (heading, language)]
    assert found, f"no {language} block below {heading!r}"
    return found
