"""The site as it is set up in production."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PRODUCTION = {
    "PRODUCTION": "yes",
    "SECRET_KEY": "x9" + "kJ2mQ7wE4rT8yU1iO5pA3sD6fG0hZ" * 2,
    "ALLOWED_HOSTS": "images.example.org",
    "PUBLIC_URL": "https://images.example.org",
    "ENV_FILE": os.devnull,
}


def manage(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(folder), **PRODUCTION}
    command = [sys.executable, "manage.py", *args]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


def test_djangos_own_check_for_deployment_finds_nothing(tmp_path: Path) -> None:
    check = manage(tmp_path, "check", "--deploy", "--fail-level", "INFO")

    assert check.returncode == 0, check.stderr
    assert "no issues" in check.stdout


def test_cookies_and_transport_are_closed(tmp_path: Path) -> None:
    code = (
        "from django.conf import settings as s; "
        "print(s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_SAMESITE, s.CSRF_COOKIE_SECURE, "
        "s.SECURE_HSTS_SECONDS, s.SECURE_HSTS_INCLUDE_SUBDOMAINS, s.SECURE_HSTS_PRELOAD, "
        "s.SECURE_SSL_REDIRECT, s.SECURE_CONTENT_TYPE_NOSNIFF, "
        "s.METRICS_ADDRESSES, s.LOG_FORMAT)"
    )

    told = manage(tmp_path, "shell", "--no-imports", "-c", code).stdout

    assert told == "True True Lax True 31536000 False False True True [] json\n"
