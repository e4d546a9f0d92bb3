"""Serves the site in as many processes as WEB_PROCESSES says: `python -m config.serve --host 0.0.0.0 --port 8000`."""

import argparse
import math
import os
import shutil

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import uvicorn
from django.conf import settings

from config.endings import in_words

HEALTH_SECONDS = 30  # a process that says nothing for so long is replaced; on a busy machine one starts slowly


def main(application: str = "config.asgi:application") -> None:
    """Serve until a signal ends it; requests and waiting callers then have STOP_GRACE_SECONDS."""
    parser = argparse.ArgumentParser(prog="python -m config.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=settings.PORT)
    listen = parser.parse_args()
    if settings.WEB_PROCESSES > 1:  # any of them may be asked what all of them did (operations/metrics.py)
        folder = settings.VAR_DIR / f"metrics-{listen.port}"
        shutil.rmtree(folder, ignore_errors=True)  # here, for uvicorn ends by the signal that it got
        folder.mkdir(parents=True)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    uvicorn.run(
        application,
        host=listen.host,
        port=listen.port,
        workers=settings.WEB_PROCESSES,
        timeout_worker_healthcheck=HEALTH_SECONDS,
        loop="uvloop",
        http="httptools",  # of the parsers only this one takes absolute-form targets
        lifespan="off",
        log_config=settings.LOGGING,  # its own would write past our formatters
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe about clients, accounts/addresses.py knows
        timeout_graceful_shutdown=math.ceil(settings.STOP_GRACE_SECONDS),
    )


if __name__ == "__main__":
    with in_words():
        main()
