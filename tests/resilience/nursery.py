"""Forks processes that have torch and Django imported already: importing takes seconds, and the tests start many.

Reads one JSON object a line: {"start": [argument, …], "log": path, "settings": {name: value}} starts a management
command with these settings changed and answers its process id, {"wait": pid} answers how that one exited.
"""

import gc
import json
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.core.management import execute_from_command_line

django.setup()

import generation.worker  # noqa: E402, F401

gc.collect()
gc.freeze()  # else each child would look through all of it for garbage, and so copy it


def start(arguments: list[str], log_path: str, changes: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    for name, value in changes.items():
        setattr(settings, name, value)
    code = 0
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    sys.stdout.flush()
    os._exit(code)  # not through C++'s own clean-up, which would wait for threads that did not survive the fork


for line in sys.stdin:
    order = json.loads(line)
    if "start" in order:
        answer = start(order["start"], order["log"], order["settings"])
    else:
        answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()
