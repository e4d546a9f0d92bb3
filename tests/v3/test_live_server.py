"""The web process as `make run` starts it: absolute targets, waiting without threads, callers that leave, no Redis."""

import asyncio
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.conf import settings as django_settings

from config.storage import storages
from generation import services
from tests.conftest import Person
from tests.live import Web, serving, working
from tests.services import free_port, start_valkey
from tests.v3 import bodies

CALLERS = 1000
MEGABYTE = 2**20


def post_bytes(path: str, body: dict[str, Any], target: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {target}/api/v3/{path} HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def read_answer(sock: socket.socket) -> dict[str, Any]:
    with sock, sock.makefile("rb") as file:
        return dict(json.loads(file.read().partition(b"\r\n\r\n")[2]))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module")
def web(django_db_setup: None, folder: Path) -> Iterator[Web]:
    """Waits long: what is not answered early by the end of a generation fails by its time limit."""
    with serving(folder, SYNC_WAIT_SECONDS="50", FETCH_WAIT_SECONDS="50") as server:
        yield server


@pytest.fixture(autouse=True)
def _one_storage(settings: Any, folder: Path, _own_folder: None, transactional_db: None) -> None:
    """Share the server's folder, so that images made here are served there; close no database under its feet."""
    settings.STORAGES = storages("", folder)


def test_the_caller_gets_the_image_as_soon_as_it_is_made(web: Web, alice: Person, work: Any) -> None:
    with working(work):
        reply = web.post("img2img", bodies.img2img(alice.key, track_id=5))

    status, image = web.request("GET", urlsplit(reply["output"][0]).path)
    assert (reply["status"], reply["track_id"]) == ("success", 5)
    assert reply["output"][0].startswith(f"http://127.0.0.1:{web.port}/media/generations/")
    assert (status, image[:8]) == (200, b"\x89PNG\r\n\x1a\n")


def test_a_failure_is_told_as_soon_as_it_happens(web: Web, alice: Person) -> None:
    sock = web.send(post_bytes("text2img", bodies.text2img(alice.key)))
    generation = wait_for(services.claim)
    services.fail(generation)

    reply = read_answer(sock)

    assert reply == {"status": "failed", "id": generation.pk, "message": "Failed, Try Again", "output": []}


def wait_for(change: Callable[[int], Any]) -> Any:
    """Apply `change` to the newest generation as soon as there is one."""
    from generation.models import Generation

    for _ in range(600):
        newest = Generation.objects.order_by("-pk").first()
        if newest and (result := change(newest.pk)):
            return result
        time.sleep(0.05)
    raise AssertionError("The generation did not come.")


@pytest.mark.parametrize("target", ["", "http://a.example", "https://a.example:8443"])
def test_the_request_target_may_be_an_absolute_address(web: Web, alice: Person, target: str) -> None:
    reply = read_answer(web.send(post_bytes("system_load", {"key": alice.key}, target)))
    fetched = read_answer(web.send(post_bytes("fetch/1", {"key": alice.key}, target)))

    assert reply == {"queue_num": 0, "queue_time": 0, "status": "ok"}
    assert fetched["message"] == "Request not found"


def chunked(body: bytes, content_type: str, key: str) -> bytes:
    head = f"POST /api/v3/text2img HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nkey: {key}\r\n"
    pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return head.encode() + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def test_a_body_may_come_in_chunks_as_json_and_as_a_form(web: Web, alice: Person) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    form = part % (b"prompt", b"a cat") + part % (b"samples", b"9") + b"--x--\r\n"

    as_form = read_answer(web.send(chunked(form, "multipart/form-data; boundary=x", alice.key)))
    as_json = read_answer(web.send(chunked(b'{"prompt": "a cat", "samples": 9}', "application/json", alice.key)))

    words = {"samples": ["The samples must be between 1 and 4."]}
    assert (as_form["message"], as_json["message"]) == (words, words)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x"])
def test_a_body_that_is_too_large_is_answered_and_not_kept(web: Web, alice: Person, content_type: str) -> None:
    before_bytes = written_bytes(web)
    size = 200 * MEGABYTE
    head = f"POST /api/v3/text2img HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nConnection: close\r\n"
    sock = web.send(f"{head}Content-Length: {size}\r\nkey: {alice.key}\r\n\r\n".encode())
    for _ in range(200):
        sock.sendall(b" " * MEGABYTE)

    reply = read_answer(sock)

    assert (reply["message"], reply["tip"]) == ("Invalid API Request", "The request body is too large.")
    assert written_bytes(web) - before_bytes < 100 * MEGABYTE


def written_bytes(web: Web) -> int:
    """Return what the process has written so far, to files too; 0 where the system doesn't tell."""
    return int(web.process.io_counters().write_chars) if psutil.LINUX else 0


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=x; charset=hex",
        "multipart/form-data; boundary=x; charset=punycode",
        "multipart/form-data; boundary=x; charset=unicode_escape",
        "multipart/form-data; charset=utf-8; boundary=x; a*=x'y'z",
        'Multipart/Form-Data; boundary="x"; a*=x; a*0=y',
        "multipart/form-data; boundary=*****",
        "multipart/form-data;boundary=" + "'(a)+,./:=?_-" * 8,
        'multipart/form-data; boundary="with blanks and=more"',
    ],
)
def test_a_form_is_utf_8_whatever_else_its_content_type_says(web: Web, alice: Person, content_type: str) -> None:
    """Of the prompt a punycode codec would make something else, in hours."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('"')
    part = f"--{boundary}\r\n" + 'Content-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    body = part % ("prompt", "é" * 200_000) + part % ("samples", "9") + f"--{boundary}--\r\n"

    status, answer = web.request(
        "POST", "/api/v3/text2img?a=%ff", body.encode(), **{"Content-Type": content_type, "key": alice.key}
    )

    long, many = "The prompt may not be longer than 2000 characters.", "The samples must be between 1 and 4."
    assert (status, json.loads(answer)["message"]) == (200, {"prompt": [long], "samples": [many]})


def test_json_is_read_whatever_its_content_type_says(web: Web, alice: Person) -> None:
    body = json.dumps({"key": alice.key})

    answers = [
        web.request("POST", "/api/v3/system_load", body, **{"Content-Type": content_type})
        for content_type in ("application/json; a*=x'y'z", "a*=x; a*0=y", "text/plain; charset=idna", ";" * 8000)
    ]

    assert answers == [(200, b'{"queue_num":0,"queue_time":0,"status":"ok"}')] * 4


@pytest.mark.parametrize("name", ["Content-Type", "Cookie", "X-Anything"])
def test_a_header_of_more_than_8_kilobytes_is_a_bad_request(web: Web, alice: Person, name: str) -> None:
    body = json.dumps({"key": alice.key})

    status = [
        web.request("POST", "/api/v3/system_load", body, **{name: value})[0]
        for value in ('a/b; x="' + ";" * 8184, 'a/b; x="' + ";" * 8185)
    ]

    assert status == [200, 400]


def test_a_page_form_with_an_impossible_charset_is_a_form(web: Web) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="login"\r\n\r\n\\ud800\r\n--x--\r\n'

    for charset in ("hex", "unicode_escape"):
        content_type = f"multipart/form-data; boundary=x; charset={charset}"
        headers = {"Content-Type": content_type, "Cookie": "csrftoken=" + "a" * 32}
        assert web.request("POST", "/account/login/", body, **headers)[0] == 403  # without that token in the form


def test_a_query_of_thousands_of_fields_is_no_server_fault(web: Web, alice: Person) -> None:
    path, body = "/api/v3/system_load?" + "a=1&" * 2000, json.dumps({"key": alice.key})

    plain = web.request("POST", path, body, **{"Content-Type": "application/json; charset=utf-8"})
    with_charset = web.request("POST", path, body, **{"Content-Type": "application/json; charset=iso-8859-1"})

    assert (plain[0], json.loads(plain[1])["message"]) == (200, "Invalid API Request")
    assert with_charset == (400, b"Bad Request")  # Django reads the query before any view


def test_it_answers_processing_when_the_time_is_up(folder: Path, alice: Person) -> None:
    with serving(folder, SYNC_WAIT_SECONDS="1.5", FETCH_WAIT_SECONDS="0.5") as web:
        begun = time.monotonic()
        submitted = web.post("text2img", bodies.text2img(alice.key))
        between = time.monotonic()
        fetched = web.post(f"fetch/{submitted['id']}", {"key": alice.key})
        end = time.monotonic()

    assert (submitted["status"], submitted["messege"]) == (
        "processing",
        "Try to fetch request after seconds estimated",
    )
    assert (fetched["status"], fetched["messege"]) == ("processing", "Request processing")
    assert between - begun >= 1.5
    assert end - between >= 0.5


def test_a_caller_that_leaves_does_no_harm(web: Web, alice: Person, work: Any) -> None:
    sock = web.send(post_bytes("text2img", bodies.text2img(alice.key)))
    pk = wait_for(lambda pk: pk)
    sock.close()
    work()

    reply = web.post(f"fetch/{pk}", {"key": alice.key})

    assert reply["status"] == "success"
    assert "Traceback" not in web.log.read_text()


def test_a_caller_is_answered_though_redis_dies(folder: Path, alice: Person, work: Any) -> None:
    port = free_port()
    valkey = start_valkey(folder / "valkey", port)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        with serving(folder, REDIS_URL=url, SYNC_WAIT_SECONDS="50", FETCH_WAIT_SECONDS="50") as web:
            sock = web.send(post_bytes("text2img", bodies.text2img(alice.key)))
            pk = wait_for(lambda pk: pk)
            valkey.kill()
            valkey.wait()
            work()
            waited = read_answer(sock)
            fetched = web.post(f"fetch/{pk}", {"key": alice.key})
            submitted = web.send(post_bytes("text2img", bodies.text2img(alice.key, seed=5)))
            wait_for(lambda newest: newest != pk)
            work()
            second = read_answer(submitted)
    finally:
        valkey.kill()

    assert (waited["status"], fetched["status"], second["status"]) == ("success", "success", "success")


def test_a_slow_reader_holds_up_nobody(web: Web, alice: Person, work: Any, folder: Path) -> None:
    """Forty callers ask for a large file and read none of it."""
    with working(work):
        reply = web.post("text2img", bodies.text2img(alice.key))
    link = urlsplit(reply["output"][0]).path
    (folder / "media" / link.removeprefix("/media/")).write_bytes(b"x" * 20 * MEGABYTE)
    readers = [web.send(f"GET {link} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) for _ in range(40)]
    for reader in readers:
        reader.recv(1)

    load = web.post("system_load", {"key": alice.key})

    assert load["status"] == "ok"
    assert web.process.num_threads() < 50
    for reader in readers:
        reader.close()


def test_a_thousand_callers_wait_at_once_without_a_thread_each(
    folder: Path, alice: Person, work: Any, many_files: None
) -> None:
    pk = services_submit(alice)
    seen = {"threads": 0, "rss": 0}

    with serving(folder, FETCH_WAIT_SECONDS="200") as web:
        answers = asyncio.run(call_and_work(web, pk, alice.key, work, seen))

    assert len(answers) == CALLERS
    assert {(answer["status"], answer["id"]) for answer in answers} == {("success", pk)}
    assert 0 < seen["threads"] < 50
    assert 0 < seen["rss"] < 400 * MEGABYTE


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the web process that it starts, have a socket for each caller."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def services_submit(person: Person) -> int:
    from generation.params import Inputs, Params

    params = Params(
        mode="text2img", prompt="a cat", seed=1, width=64, height=64, num_inference_steps=1, safety_checker=False
    )
    return services.submit(person.user, params, Inputs()).pk


async def call_and_work(web: Web, pk: int, key: str, work: Any, seen: dict[str, int]) -> list[dict[str, Any]]:
    """Let every caller ask; make the image only when all of them wait, and look at the process then."""
    asked = asyncio.Semaphore(0)

    async def call() -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(post_bytes(f"fetch/{pk}", {"key": key}))
        await writer.drain()
        asked.release()
        answer = await reader.read()
        writer.close()
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    for _ in callers:
        await asked.acquire()
    while await asyncio.to_thread(busy, web):
        pass
    seen["threads"], seen["rss"] = web.process.num_threads(), web.process.memory_info().rss
    assert not any(caller.done() for caller in callers)
    await asyncio.to_thread(work)
    return await asyncio.gather(*callers)


def busy(web: Web) -> bool:
    """Tell whether the process still works off requests, after half a second."""
    before = sum(web.process.cpu_times()[:2])
    time.sleep(0.5)
    return sum(web.process.cpu_times()[:2]) - before > 0.1


def test_the_web_process_starts_lightly(folder: Path) -> None:
    with serving(folder) as web:
        web.request("GET", "/api/v3/system_load")
        processor_seconds = sum(web.process.cpu_times()[:2])
        rss_bytes = web.process.memory_info().rss

    assert processor_seconds < 2
    assert rss_bytes < 150 * MEGABYTE


def test_the_key_is_in_no_log_of_the_server(web: Web, alice: Person) -> None:
    web.request("POST", f"/api/v3/system_load?key={alice.key}", "", key=alice.key)
    web.request("POST", f"/api/v3/nonsense?key={alice.key}", "{")

    assert alice.key not in web.log.read_text()


def test_importing_the_application_does_not_import_torch() -> None:
    code = "import sys, config.asgi; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=django_settings.BASE_DIR).returncode == 0


def test_a_request_enters_the_thread_of_its_middleware_and_view_only_once() -> None:
    told = "iscoroutinefunction(config.asgi.Handler()._middleware_chain)"
    code = f"import sys, config.asgi; from asgiref.sync import iscoroutinefunction; sys.exit({told})"

    assert subprocess.run([sys.executable, "-c", code], cwd=django_settings.BASE_DIR).returncode == 0
