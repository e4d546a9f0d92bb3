"""Turns STORAGE_URL into Django's STORAGES."""

import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from config.env import BadSetting

IMMUTABLE = "public, max-age=31536000, immutable"
# An S3 that is silent for longer is asked once more, and then given up. Sending may stall as long as connecting: time
# for a disk to catch up.
CONNECT_SECONDS, ANSWER_SECONDS = 10, 20


class FolderStorage(FileSystemStorage):
    """A folder where files appear whole: callers know the links before the images are there, and caches keep them."""

    def _save(self, name: str, content: File) -> str:
        part = f"{name}.{uuid.uuid4().hex}.part"
        try:
            super()._save(part, content)  # type: ignore[misc]
            os.replace(self.path(part), self.path(name))
        except BaseException:
            self.delete(part)
            raise
        return name


def storages(storage_url: str, folder: Path) -> dict[str, Any]:
    """Return STORAGES with `default` (results, public by unguessable name) and `inputs` (start images, private).

    `storage_url` is empty for folders below `folder`, or
    `s3://KEY:SECRET@HOST[:PORT]/BUCKET[?region=…&tls=no&public_url=https://…]`.

    Raises:
        BadSetting: the address cannot be used.
    """
    if storage_url:
        default = s3(storage_url)
        inputs = default | {"location": "inputs", "object_parameters": {}, "querystring_auth": True}
        backend = "storages.backends.s3.S3Storage"
    else:
        default = {"location": folder / "media", "base_url": "/media/", "allow_overwrite": True}
        inputs = {"location": folder / "inputs"}
        backend = "config.storage.FolderStorage"
    return {
        "default": {"BACKEND": backend, "OPTIONS": default},
        "inputs": {"BACKEND": backend, "OPTIONS": inputs},
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
    }


def s3(storage_url: str) -> dict[str, Any]:
    """Return the options of django-storages' S3 backend for an `s3://` address."""
    from botocore.config import Config  # takes a moment, and folders do without

    url = urlsplit(storage_url)
    bucket = url.path.strip("/")
    if url.scheme != "s3" or not url.hostname or not bucket:
        raise BadSetting("STORAGE_URL must look like s3://KEY:SECRET@HOST[:PORT]/BUCKET.")
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    scheme = "http" if query.get("tls") == "no" else "https"
    endpoint = f"{scheme}://{url.hostname}" + (f":{url.port}" if url.port else "")
    options: dict[str, Any] = {
        "bucket_name": bucket,
        "endpoint_url": endpoint,
        "access_key": unquote(url.username or ""),
        "secret_key": unquote(url.password or ""),
        "region_name": query.get("region", "us-east-1"),
        "client_config": Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 2},
            s3={"addressing_style": "path"},
        ),
        "file_overwrite": True,
        "querystring_auth": False,  # clients drop the query string: the path alone must fetch the image
        "object_parameters": {"CacheControl": IMMUTABLE},
    }
    if "public_url" in query:
        public = urlsplit(query["public_url"])
        options |= {"custom_domain": public.netloc + public.path.rstrip("/"), "url_protocol": f"{public.scheme}:"}
    return options


def image_origins(storage_url: str) -> list[str]:
    """Return the origin that browsers get images from, if it isn't the site itself."""
    if not storage_url:
        return []
    options = s3(storage_url)
    if "custom_domain" in options:
        return [f"{options['url_protocol']}//{options['custom_domain'].partition('/')[0]}"]
    return [str(options["endpoint_url"])]
