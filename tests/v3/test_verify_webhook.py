"""The programs that the documentation gives for checking signatures, against signatures of ours."""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from generation.v3.handbook.pages import PROGRAMS
from generation.v3.handbook.programs.verify_webhook import is_genuine
from generation.webhooks import signing
from tests.conftest import Person

BODY = '{"status": "success", "prompt": "猫"}'.encode()
NODE = """
import {{ isGenuine }} from "{program}";
const tries = JSON.parse(process.argv[1]);
const answers = tries.map(([secret, headers, body]) => isGenuine(secret, headers, Buffer.from(body)));
console.log(JSON.stringify(answers));
"""
PHP = """
require '{program}';
$tries = json_decode($argv[1], true);
echo json_encode(array_map(fn($try) => is_genuine(...$try), $tries));
"""


def by_python(tries: list[Any]) -> list[bool]:
    return [is_genuine(secret, headers, body.encode()) for secret, headers, body in tries]


def by_node(tries: list[Any]) -> list[bool]:
    program = NODE.format(program=PROGRAMS / "verify_webhook.mjs")
    return output("node", "--input-type=module", "-e", program, json.dumps(tries))


def by_php(tries: list[Any]) -> list[bool]:
    return output("php", "-r", PHP.format(program=PROGRAMS / "verify_webhook.php"), json.dumps(tries))


def output(*command: str | Path) -> list[bool]:
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]}")
    return list(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout))


@pytest.mark.parametrize("check", [by_python, by_node, by_php])
def test_it_believes_what_we_sign_and_nothing_else(check: Any, alice: Person, bob: Person) -> None:
    now, secret = timezone.now(), alice.user.webhook_secret
    good = signing.headers(alice.user, "msg_1", BODY, now)
    alice.user.rotate_webhook_secret()
    rotated = signing.headers(alice.user, "msg_1", BODY, now)
    old = signing.headers(alice.user, "msg_1", BODY, now - timedelta(minutes=6))
    body = BODY.decode()

    answers = check(
        [
            (secret, good, body),
            (secret, rotated, body),
            (alice.user.webhook_secret, rotated, body),
            (secret, good, body + " "),
            (secret, good | {"webhook-id": "msg_2"}, body),
            (secret, good | {"webhook-timestamp": "soon"}, body),
            (secret, good | {"webhook-signature": "v1,é"}, body),
            (secret, old, body),
            (bob.user.webhook_secret, good, body),
        ]
    )

    assert answers == [True, True, True, *[False] * 6]
