"""What must not be in any line that is logged: the keys, signing secrets and passwords that these tests use."""

import re
from pathlib import Path

SECRETS = re.compile(r"sk_[\w-]{43}|whsec_[A-Za-z0-9+/]{32}|correct horse")


def assert_no_secrets(lines: str) -> None:
    assert SECRETS.findall(lines) == []


def assert_no_secrets_in(folder: Path) -> None:
    """Read the logs that processes left in a folder."""
    logs = list(folder.glob("*.log"))
    assert logs
    for log in logs:
        assert_no_secrets(log.read_text(errors="replace"))
