"""Where things are in the project."""

from pathlib import Path

LOCAL_STACK = Path(__file__).resolve().parent
PROJECT = LOCAL_STACK.parent
VENV = PROJECT / ".venv"
LOCAL = PROJECT / ".local"  # all that the project writes, apart from .venv
TOOLS = LOCAL / "tools"
