"""Print the settings of a .env file for the first lines of the Makefile.

env_file.py FILE

Accepts what Docker Compose v1 and v2 read alike, and refuses the rest with one line and exit code
1. Needs only Python's standard library, because `make setup` reads the file, too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SETTING = re.compile(
    r"""(?!.*[\0-\x08\x0b-\x0c\x0e-\x1f])  # make splits words at control characters, too
    \s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
    (?:
        (?:
            '(?P<single>(?:[^'\\$]|\$(?!\{))*)'  # Compose v1 expands ${...} even here
            | "(?P<double>[^"\\$]*)"
        )
        (?:\s+\#.*)?
        |
        (?P<plain>[^\s'"$\#][^\s$\#]*(?:[ \t]+[^\s$\#]+)*)
        (?:[ \t]*[ ]\#.*)?  # to Compose v2, a comment begins after a space, not after a tab
    )?
    \s*""",
    re.VERBOSE,
)
COMMENT = re.compile(r"\s*(?:#.*)?")
# These mean something to make, or to its function `foreach`.
FOR_MAKE = str.maketrans({"$": "$$", " ": "$(space)", "\t": "$(tab)", "#": "$(hash)"})


class EnvFileError(ValueError):
    """A line that would mean different things to different programs; the text says which."""


def parse(text: str) -> dict[str, str]:
    """The settings of a .env file, by name. Raises EnvFileError."""
    settings = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if COMMENT.fullmatch(line):
            continue
        match = SETTING.fullmatch(line)
        if not match:
            raise EnvFileError(
                f"line {number} is not NAME=value;"
                " a value with quotation marks, # or $ must be in single quotes"
            )
        settings[match["name"]] = match["single"] or match["double"] or match["plain"] or ""
    return settings


def main(file: str) -> int:
    try:
        settings = parse(Path(file).read_text("utf-8-sig", "surrogateescape"))
    except (OSError, EnvFileError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    lines = [f"{name}?={value.translate(FOR_MAKE)}$(empty)" for name, value in settings.items()]
    output = "\n".join([*lines, "ENV_FILE_IS_READ:=yes\n"])
    sys.stdout.buffer.write(output.encode("utf-8", "surrogateescape"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
