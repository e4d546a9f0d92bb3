"""Forks gpu workers that have torch and Django imported already: importing takes seconds, and the tests kill many.

Reads one JSON object a line: {"start": {setting: value}} starts a worker with these settings changed and answers its
process id, {"wait": pid} answers how that one exited. A child runs the command of a real gpu worker.
"""

import json
import os
import sys
from typing import Any

import django
from django.conf import settings
from django.core.management import execute_from_command_line

django.setup()

import generation.worker  # noqa: E402, F401

COMMAND = ["manage.py", "rqworker", "gpu", "--worker-class", "generation.worker.GpuWorker", "--serializer", "json"]


def start(log_path: str, changes: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    for name, value in changes.items():
        setattr(settings, name, value)
    try:
        execute_from_command_line(COMMAND)
    except SystemExit as exit_:
        os._exit(int(exit_.code or 0))
    os._exit(0)  # not through C++'s own clean-up, which would wait for threads that did not survive the fork


for line in sys.stdin:
    order = json.loads(line)
    if "start" in order:
        answer = start(sys.argv[1], order["start"])
    else:
        answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()
