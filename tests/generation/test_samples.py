"""Requests as programs: what arrives is what was asked, whatever is in the prompt."""

import ast
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.samples import KEY_PLACEHOLDER, php_quoted, samples

NASTY = (
    'it\'s "a" \\\'cat\\\' $HOME ${x} `ls` {$y} %s <?php ?> """ \\u0041 \\\n\ttab \b\x1f\x7f 猫 🐈 \u2028 </script> !!'
)
PARAMETERS = {"prompt": NASTY, "width": 512, "strength": 0.7, "seed": None, "base64": False, "track_id": ""}
HOST = "https://images.example.com"
no_surrogates = st.text(st.characters(exclude_categories=["Cs"]))


def sample(language: str, parameters: dict[str, Any], base_url: str = HOST, **key: str) -> str:
    return next(one.text for one in samples(base_url, "img2img", parameters, **key) if one.language == language)


class Echo(HTTPServer):
    """Keeps the bodies that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Keep)
        self.bodies: list[Any] = []


class Keep(BaseHTTPRequestHandler):
    server: Echo

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "success", "output": []}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


COMMANDS = {
    "curl": ("bash", "sh"),
    "python": (sys.executable, "py"),
    "javascript": ("node", "mjs"),
    "node": ("node", "mjs"),
    "php": ("php", "php"),
    "java": ("java", "java"),
}


@pytest.mark.parametrize("language", COMMANDS)
def test_a_program_sends_what_was_asked(language: str, echo: Echo, tmp_path: Path) -> None:
    command, suffix = COMMANDS[language]
    if not shutil.which(command):
        pytest.skip(f"there is no {command}")
    program = tmp_path / f"Sample.{suffix}"
    program.write_text(sample(language, PARAMETERS, f"http://127.0.0.1:{echo.server_port}"))

    run = subprocess.run([command, program], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr
    assert echo.bodies == [("/api/v3/img2img", "application/json", {"key": KEY_PLACEHOLDER} | PARAMETERS)]
    assert "success" in run.stdout


def test_a_large_image_is_no_argument_too_long_for_a_shell(echo: Echo) -> None:
    body = {"prompt": NASTY, "init_image": "x" * 300_000}
    program = sample("curl", body, f"http://127.0.0.1:{echo.server_port}")

    subprocess.run(["bash"], input=program, text=True, capture_output=True, check=True, timeout=60)

    assert echo.bodies[0][2] == {"key": KEY_PLACEHOLDER} | body


@pytest.mark.skipif(not shutil.which("java"), reason="there is no java")
@pytest.mark.parametrize("prompt", ["a cat", NASTY, NASTY * 2_000, "🐈" * 30_000])
def test_a_large_image_is_no_constant_too_long_for_java(echo: Echo, tmp_path: Path, prompt: str) -> None:
    body = {"prompt": prompt, "init_image": "x" * 300_000}
    program = tmp_path / "Sample.java"
    program.write_text(sample("java", body, f"http://127.0.0.1:{echo.server_port}"))

    run = subprocess.run(["java", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert run.returncode == 0, run.stderr[-1000:]
    assert echo.bodies[0][2] == {"key": KEY_PLACEHOLDER} | body


@given(no_surrogates)
def test_a_shell_reads_any_prompt(prompt: str) -> None:
    words = shlex.split(sample("curl", {"prompt": prompt}, key="sk_a").replace("\\\n  -", "-"))

    assert words[:5] == ["curl", f"{HOST}/api/v3/img2img", "-H", "Content-Type: application/json", "-d"]
    assert json.loads(words[5]) == {"key": "sk_a", "prompt": prompt}


@given(no_surrogates)
def test_python_reads_any_prompt(prompt: str) -> None:
    call = ast.parse(sample("python", {"prompt": prompt, "seed": None})).body[1].value.func.value  # type: ignore[attr-defined]

    assert ast.literal_eval(call.keywords[0].value) == {"key": KEY_PLACEHOLDER, "prompt": prompt, "seed": None}


@given(no_surrogates)
def test_a_java_text_block_says_any_prompt(prompt: str) -> None:
    block = sample("java", {"prompt": prompt}).split('"""')

    assert len(block) == 3
    # Java's escapes are in there as doubled backslashes only, and an odd one would begin another escape.
    assert json.loads(block[1].replace("\\\\", "\\")) == {"key": KEY_PLACEHOLDER, "prompt": prompt}
    assert block[1].replace("\\\\", "").count("\\") == 0


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ('it\'s "so"', r'"it\'s \"so\""'.replace(r"\'", "'")),
        ("$5 {$x} ${y}", r'"\$5 {\$x} \${y}"'),
        ("\\$5 \\u0041", r'"\\\$5 \\u0041"'),
        ("a\nb\tc\bd\x1fe\f", r'"a\nb\tc\x08d\u{001f}e\f"'),
        ("猫 🐈", '"猫 🐈"'),
    ],
)
def test_php_reads_it_as_it_is(text: str, literal: str) -> None:
    assert php_quoted(text) == literal


def test_every_language_is_written_for_the_host_and_the_key() -> None:
    written = samples(HOST, "fetch/7", {}, key="sk_…abcd")

    assert [one.label for one in written] == ["cURL", "Python", "JavaScript", "Node.js", "PHP", "Java"]
    assert all(f"{HOST}/api/v3/fetch/7" in one.text and "sk_…abcd" in one.text for one in written)
