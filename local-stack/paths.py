"""Where things are in the project."""

import os
import re
from pathlib import Path

LOCAL_STACK = Path(__file__).resolve().parent
PROJECT = LOCAL_STACK.parent
VENV = PROJECT / ".venv"
LOCAL = PROJECT / ".local"  # all that the project writes, apart from .venv
TOOLS = LOCAL / "tools"

# In such a path, supervisor would see the end of a line or text, Java that of a path or archive,
# and the ClickHouse library a pattern.
UNUSABLE = re.compile(r"[\x00-\x1f:,*?{}]|\s[#;]|!/|'.*\"|\".*'")
USABLE_PATHS = (
    "must be paths in UTF-8 without : , * ? { } or control characters, without both kinds of"
    " quotation marks, without # or ; after a space, and without ! at the end of a name"
)


def spark_home() -> Path:
    """The folder of PySpark in VENV. Raises StopIteration if it is not installed."""
    return next(VENV.glob("lib/python3*/site-packages/pyspark"))


def is_usable(folder: Path) -> bool:
    """Whether all programs of the stack can deal with a folder of this name; see USABLE_PATHS."""
    try:
        return not UNUSABLE.search(os.fsencode(folder).decode() + "/")
    except UnicodeDecodeError:
        return False
