# Two images: web (everything but the gpu worker; torch for CPUs only, since every process shares one code base) and gpu.
#   docker build --target web -t atelier-web .        docker build --target gpu -t atelier-gpu .
# Only a container that serves can be asked whether it lives, as compose.yaml does; docker run needs to be told:
#   --health-cmd "python -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)\""
# pg_dump refuses a server that is newer than itself: this Debian has PostgreSQL 17, as compose.yaml has.
FROM python:3.11-slim-trixie AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VAR_DIR=/var/lib/atelier
WORKDIR /srv/atelier
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/atelier --create-home atelier
COPY pyproject.toml constraints.txt README.md ./

FROM base AS web
RUN pip install --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu .
COPY . .
USER atelier
EXPOSE 8000
# Settings that a build can't know come from the environment; collecting nothing, the image needs none.
CMD ["python", "-m", "config.serve", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS gpu
RUN pip install --constraint constraints.txt .
COPY . .
USER atelier
STOPSIGNAL SIGTERM
CMD ["python", "manage.py", "rqworker", "--serializer", "json", "gpu", "--worker-class", "generation.worker.GpuWorker"]
