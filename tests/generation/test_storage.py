"""Results and start images, in a folder and on S3."""

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from botocore.exceptions import ReadTimeoutError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage, storages

from config.env import BadSetting
from config.storage import IMMUTABLE, FolderStorage
from config.storage import storages as storages_setting
from generation import storage
from tests.generation.conftest import Submit

PNG = b"\x89PNG pretend"
RESULTS_ARE_PUBLIC = {  # what the owner of the bucket sets once
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::pictures/generations/*",
        }
    ],
}


@pytest.mark.usefixtures("anywhere")
def test_a_start_image_is_read_as_it_was_sent() -> None:
    assert storage.read_input(storage.save_input(PNG)) == PNG
    assert storage.save_input(PNG) != storage.save_input(PNG)


@pytest.mark.usefixtures("anywhere")
def test_storing_an_image_again_replaces_it(submit: Submit) -> None:
    generation = submit()
    storage.save_image(generation, 0, b"first", as_base64=False)

    storage.save_image(generation, 0, PNG, as_base64=False)

    with default_storage.open(generation.image_name(0)) as file:
        assert file.read() == PNG


@pytest.mark.usefixtures("anywhere")
def test_the_base64_twin_is_the_bare_text(submit: Submit) -> None:
    generation = submit(base64=True)

    storage.save_image(generation, 0, PNG, as_base64=True)

    assert storage.read_base64(generation, 0) == "iVBORyBwcmV0ZW5k"
    assert storage.url(generation, 0, as_base64=True).endswith(f"/generations/{generation.file_prefix}-0.base64")


@pytest.mark.usefixtures("anywhere")
def test_deleting_removes_every_image_and_minds_no_gaps(submit: Submit) -> None:
    generation, other = submit(samples=3), submit()
    storage.save_image(generation, 1, PNG, as_base64=True)
    storage.save_image(other, 0, PNG, as_base64=False)

    storage.delete_images(generation)

    assert not default_storage.exists(generation.image_name(1))
    assert default_storage.exists(other.image_name(0))


@pytest.mark.usefixtures("anywhere")
def test_inputs_of_a_request_that_fails_are_removed() -> None:
    kept = []

    def refuse() -> None:
        with storage.kept_inputs(PNG, "https://example.org/mask.png") as inputs:
            kept.append(inputs)
            assert storage.read_input(inputs.init_image_name) == PNG
            raise PermissionError

    with pytest.raises(PermissionError):
        refuse()

    assert kept[0].mask_image_url == "https://example.org/mask.png"
    assert not storages["inputs"].exists(kept[0].init_image_name)


def test_on_s3_the_path_alone_gives_the_image_and_it_may_be_cached_for_ever(submit: Submit, bucket: Any) -> None:
    bucket.Policy().put(Policy=json.dumps(RESULTS_ARE_PUBLIC))
    generation = submit()
    storage.save_image(generation, 0, PNG, as_base64=True)

    links = [storage.url(generation, 0, as_base64) for as_base64 in (False, True)]
    image, text = (urlopen(link) for link in links)

    assert not any("?" in link for link in links)
    assert (image.read(), image.headers["Content-Type"], image.headers["Cache-Control"]) == (
        PNG,
        "image/png",
        IMMUTABLE,
    )
    assert (text.read(), text.headers["Content-Type"]) == (b"iVBORyBwcmV0ZW5k", "text/plain")


def test_on_s3_inputs_lie_apart_private_and_for_no_cache(bucket: Any) -> None:
    bucket.Policy().put(Policy=json.dumps(RESULTS_ARE_PUBLIC))
    name = storage.save_input(PNG)
    url = storages["inputs"].url(name)

    assert [item.key for item in bucket.objects.all()] == [f"inputs/{name}"]
    assert bucket.Object(f"inputs/{name}").cache_control is None
    assert urlopen(url).read() == PNG  # signed
    with pytest.raises(HTTPError, match="403"):
        urlopen(url.partition("?")[0])


def test_on_s3_a_public_address_may_be_another(settings: Any, submit: Submit) -> None:
    url = "s3://k%2F:s@s3.example.org/pictures?public_url=https://cdn.example.org/x/&region=eu-west-1"
    settings.STORAGES = storages_setting(url, Path("unused"))
    generation = submit()

    link = storage.url(generation, 0, as_base64=False)

    assert link == f"https://cdn.example.org/x/generations/{generation.file_prefix}-0.png"
    assert settings.STORAGES["default"]["OPTIONS"]["access_key"] == "k/"
    assert settings.STORAGES["default"]["OPTIONS"]["region_name"] == "eu-west-1"
    assert settings.STORAGES["default"]["OPTIONS"]["endpoint_url"] == "https://s3.example.org"


def test_on_s3_a_silent_server_is_given_up_soon(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start image is kept while the caller waits, and the places of a web process are few."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"s3://key:secret@127.0.0.1:{silent.getsockname()[1]}/pictures?tls=no"
        settings.STORAGES = storages_setting(url, Path("unused"))
        config = storages["inputs"].connection.meta.client.meta.config
        assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (10, 20, 2)
        assert config.s3["addressing_style"] == "path"

        monkeypatch.setattr("config.storage.ANSWER_SECONDS", 0.2)
        settings.STORAGES = storages_setting(url, Path("unused"))
        began = time.monotonic()
        with pytest.raises(ReadTimeoutError):
            storage.save_input(PNG)

        assert time.monotonic() - began < 5


@pytest.mark.parametrize("url", ["https://s3.example.org/bucket", "s3://key:secret@host", "s3:///bucket", "folder"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="must look like"):
        storages_setting(url, Path("unused"))


def test_in_a_folder_an_image_appears_whole(tmp_path: Path) -> None:
    """Callers know the link before the image is there, and what they see then is cached for ever."""
    folder = FolderStorage(location=tmp_path, allow_overwrite=True)
    folder.save("a.png", ContentFile(b"before"))
    seen = []

    class Dripping(ContentFile):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            for piece in (b"af", b"ter"):
                seen.append((tmp_path / "a.png").read_bytes())
                yield piece

    folder.save("a.png", Dripping(b"after"))

    assert seen == [b"before", b"before"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"after"


def test_in_a_folder_an_image_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    folder = FolderStorage(location=tmp_path, allow_overwrite=True)
    folder.save("a.png", ContentFile(b"before"))

    class TooLarge(ContentFile):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield b"af"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        folder.save("a.png", TooLarge(b"after"))

    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"before"
