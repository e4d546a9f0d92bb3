"""Files that the launcher and the demo write for the person who runs the site."""

from pathlib import Path


def write_private(path: Path, content: str) -> None:
    """Replace a file with one that only its owner can read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(content)


def shown(path: Path) -> str:
    """Return the path as it is typed from the current folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
