"""Reads settings from the environment; other modules only write to it or hand it on, for libraries and processes."""

import os
from ipaddress import ip_network
from pathlib import Path

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


class BadSetting(Exception):
    """An environment variable has a value that cannot be used."""


def text(name: str, default: str = "") -> str:
    """Return the variable, or the content of the file that NAME_FILE names (for mounted secrets)."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise BadSetting(f"{name}_FILE can't be read: {error.strerror}: {path}") from None
    return os.environ.get(name, default).strip()


def integer(name: str, default: int, least: int | None = None) -> int:
    """Return the variable as an integer that is at least `least`."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise BadSetting(f"{name} must be a whole number, not {value!r}.") from None
    if least is not None and number < least:
        raise BadSetting(f"{name} must be at least {least}, not {number}.")
    return number


def days(name: str) -> int | None:
    """Return the variable as a number of days; None when it is empty."""
    value = integer(name, 0) if text(name) else None
    if value is not None and value < 0:
        raise BadSetting(f"{name} must not be negative.")
    return value


def decimal(name: str, default: float) -> float:
    """Return the variable as a number."""
    value = text(name, str(default))
    try:
        return float(value)
    except ValueError:
        raise BadSetting(f"{name} must be a number, not {value!r}.") from None


def switch(name: str, default: bool) -> bool:
    """Return the variable as a boolean: yes/no, true/false, 1/0, on/off."""
    value = text(name, "yes" if default else "no").lower()
    if value not in TRUE | FALSE:
        raise BadSetting(f"{name} must be yes or no, not {value!r}.")
    return value in TRUE


def words(name: str, default: str = "") -> list[str]:
    """Return the variable as a list, split at commas and blanks."""
    return text(name, default).replace(",", " ").split()


def networks(name: str, default: str = "") -> list[str]:
    """Return the variable as a list of networks in CIDR notation; a single address is a network of one."""
    try:
        return [str(ip_network(word)) for word in words(name, default)]
    except ValueError as error:
        raise BadSetting(f"{name} must be addresses or networks like 10.0.0.0/8: {error}") from None
