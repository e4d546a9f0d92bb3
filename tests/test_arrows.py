"""Who may import whom; the pictures of docs and README are only true as long as this holds."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
APPS = ("accounts", "billing", "generation", "office")
NETWORK = {"urllib.request", "requests", "httpx", "http.client", "socket", "urllib3", "ssrfguard", "aiohttp"}
TORCH = {"torch", "diffusers", "transformers", "accelerate", "peft", "safetensors"}
# These start the site, so they need what the apps offer; the rest of config names apps only by strings.
STARTERS = {"config.asgi", "config.cron", "config.urls", "config.run", "config.processes"}


def imports(path: Path) -> Iterator[str]:
    """Yield every dotted name that a file imports, also inside functions, and as modules as well as from them."""
    package = path.relative_to(REPOSITORY).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_in(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def found(folder: str, packages: set[str]) -> set[tuple[str, str]]:
    """Return (importing module, imported name) for all of `packages` that `folder` imports."""
    return {
        (".".join(path.relative_to(REPOSITORY).with_suffix("").parts), name)
        for path in (REPOSITORY / folder).rglob("*.py")
        if "migrations" not in path.parts
        for name in imports(path)
        if is_in(name, packages)
    }


def importers(packages: set[str], *folders: str) -> set[str]:
    return {module for folder in folders or (*APPS, "config") for module, _ in found(folder, packages)}


def test_the_walk_sees_every_kind_of_import() -> None:
    seen = set(imports(REPOSITORY / "generation" / "jobs.py"))

    assert {"logging", "django.conf.settings", "generation.fetch", "generation.worker"} <= seen


def test_settings_name_apps_by_strings_only() -> None:
    assert importers(set(APPS), "config") <= STARTERS


def test_accounts_and_billing_know_nothing_of_what_is_sold() -> None:
    assert found("accounts", {"billing", "generation"}) == set()
    assert found("billing", {"generation"}) == set()


def test_the_back_office_may_know_all_apps_and_none_of_them_knows_it() -> None:
    assert [found(app, {"office"}) for app in APPS if app != "office"] == [set()] * 3


def test_generation_takes_only_the_ledger_of_billing() -> None:
    taken = {name for _, name in found("generation", {"billing"})}

    assert {name for name in taken if name != "billing" and not is_in(name, {"billing.ledger"})} == set()


def test_generation_takes_only_these_doors_of_accounts() -> None:
    names = ("models", "addresses", "audit", "authentication", "holdings", "quotas", "read_only")
    doors = {f"accounts.{name}" for name in names}
    taken = {name for _, name in found("generation", {"accounts"})}

    assert {name for name in taken if name != "accounts" and not is_in(name, doors)} == set()


def test_only_the_v3_views_webhooks_and_urls_know_the_v3_dialect() -> None:
    outside = {module for module in importers({"generation.v3"}) if not module.startswith("generation.v3.")}

    assert outside <= {"generation.webhooks.outbox", "config.urls"}


def test_the_engine_knows_no_django_and_no_app() -> None:
    apps = {*APPS, "config", "django", "rest_framework"}

    assert {name for _, name in found("generation/engine", apps) if not is_in(name, {"generation.engine"})} <= {
        "generation"
    }


def test_values_and_prices_need_no_database() -> None:
    for name in ("params", "pricing", "images"):
        names = set(imports(REPOSITORY / "generation" / f"{name}.py"))
        assert {n for n in names if is_in(n, {"generation", "accounts", "billing"})} <= {
            n for n in names if is_in(n, {"generation.params"})
        } | {"generation"}


def test_nothing_leans_on_operations() -> None:
    assert importers({"operations"}, *APPS) == set()


def test_stripe_has_one_door() -> None:
    assert importers({"stripe"}) <= {"billing.gateway"}


def test_torch_has_one_door() -> None:
    outside = {module for module in importers(TORCH) if not module.startswith("generation.engine.")}

    assert outside == set()


def test_the_engine_is_loaded_by_the_gpu_worker_alone() -> None:
    outside = {module for module in importers({"generation.engine"}) if not module.startswith("generation.engine.")}

    measures = "generation.management.commands.engine_info"  # loads it when it runs, and is no process of the site
    assert outside == {"generation.worker", "generation.making", measures}
    # making comes with the worker; the one that imports the worker does so inside a job.
    assert importers({"generation.making"}) == {"generation.worker"}


def test_the_network_has_one_door() -> None:
    assert importers(NETWORK, *APPS) - {"generation.management.commands.demo"} == {"generation.fetch"}


@pytest.mark.parametrize("module", ["config.asgi", "config.cron", "config.urls", "generation.jobs"])
def test_no_process_but_the_gpu_worker_loads_torch(module: str) -> None:
    assert loaded_by(module) == set()


def test_the_gpu_worker_loads_torch() -> None:
    assert {"torch", "diffusers", "transformers"} <= loaded_by("generation.worker")


def loaded_by(module: str) -> set[str]:
    """Return which of the heavy packages a fresh process has loaded after it imported `module`."""
    code = f"import django, sys; django.setup(); import {module}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    return TORCH & set(names)
