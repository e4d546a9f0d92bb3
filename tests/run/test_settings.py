"""Settings that contradict each other stop the site before it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PRODUCTION = {
    "PRODUCTION": "yes",
    "SECRET_KEY": "x" * 50,
    "ALLOWED_HOSTS": "images.example.com",
    "PUBLIC_URL": "https://images.example.com",
}


def read(expression: str, var_dir: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Read the settings in a fresh process and print one of them."""
    code = f"from config import settings; print(settings.{expression})"
    environment = {**os.environ, "VAR_DIR": str(var_dir), **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"STRIPE": "fake", **PRODUCTION}, "STRIPE=fake gives credits for no money, so it is refused in production."),
        ({"STRIPE": "fake", "STRIPE_SECRET_KEY": "sk_test_1"}, "Set STRIPE=fake or STRIPE_SECRET_KEY, not both."),
        ({"STRIPE": "real"}, "STRIPE must be fake or empty, not 'real'"),
    ],
)
def test_a_pretend_stripe_is_for_development_alone(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    refused = read("STRIPE", tmp_path, **environment)

    assert refused.returncode == 1
    assert words in refused.stderr


def test_the_pretend_stripe_gets_secrets_of_its_own_that_last(tmp_path: Path) -> None:
    expression = "STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRETS, settings.STRIPE_API_BASE"
    first, second = (read(expression, tmp_path, STRIPE="fake", PORT="8123") for _ in range(2))

    assert first.stdout.startswith("sk_test_")
    assert "['whsec_" in first.stdout
    assert first.stdout.endswith(" http://127.0.0.1:8124\n")
    assert second.stdout == first.stdout
    assert (tmp_path / "stripe_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "value", "least"), [("WEB_PROCESSES", "0", 1), ("DATABASE_POOL", "-1", 0)])
def test_a_number_that_can_not_be_is_refused(tmp_path: Path, name: str, value: str, least: int) -> None:
    refused = read(name, tmp_path, **{name: value})

    assert refused.returncode == 1
    assert f"{name} must be at least {least}, not {value}." in refused.stderr


def test_the_owner_of_the_domain_chooses_how_far_https_only_goes(tmp_path: Path) -> None:
    expression = "SECURE_HSTS_SECONDS, settings.SECURE_HSTS_INCLUDE_SUBDOMAINS, settings.SECURE_HSTS_PRELOAD"
    off = read(expression, tmp_path, HSTS_SECONDS="0", **PRODUCTION)
    all_of_it = read(expression, tmp_path, HSTS_SUBDOMAINS="yes", HSTS_PRELOAD="yes", **PRODUCTION)

    assert off.stdout == "0 False False\n"
    assert all_of_it.stdout == "31536000 True True\n"


@pytest.mark.parametrize("short", [{}, {"HSTS_SUBDOMAINS": "yes", "HSTS_SECONDS": "3600"}])
def test_preloading_wants_all_names_and_a_year(tmp_path: Path, short: dict[str, str]) -> None:
    refused = read("PRODUCTION", tmp_path, HSTS_PRELOAD="yes", **short, **PRODUCTION)

    assert refused.returncode == 1
    assert "HSTS_PRELOAD wants HSTS_SUBDOMAINS=yes and HSTS_SECONDS of at least 31536000." in refused.stderr
