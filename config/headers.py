"""What Django gets to see of a request's headers: some it reads in ways that a hostile one makes slow, or fatal."""

import codecs
import re
from collections.abc import Iterable

Header = tuple[bytes, bytes]

LONGEST_BYTES = 8192  # as nginx allows; Django takes the square of a header's length to read some
MEDIA_TYPE = re.compile(rb"\s*([\w!#$&^.+-]+/[\w!#$&^.+-]+)\s*(?:;|$)")
BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([ !#-[\]-~]{1,200})"|([!#-:<-[\]-~]{1,200}))', re.IGNORECASE)
CHARSET = re.compile(rb";\s*charset\s*=\s*\"?([\w.:-]{1,40})", re.IGNORECASE)
CHARSETS = ("iso8859-1", "cp1252")  # what old programs send instead of UTF-8


class HeaderTooLong(Exception):
    """A header is longer than anybody needs."""


def plain_headers(headers: Iterable[Header]) -> list[Header]:
    """Return the headers with a Content-Type that is simple to read.

    Raises:
        HeaderTooLong
    """
    plain = []
    for name, value in headers:
        if len(value) > LONGEST_BYTES:
            raise HeaderTooLong
        plain.append((name, plain_content_type(value) if name == b"content-type" else value))
    return plain


def plain_content_type(value: bytes) -> bytes:
    """Return a Content-Type with nothing but what a body is read by, empty where it is none.

    A charset is kept where a text in it can be read in one go: that of `punycode` takes hours, and those of
    `unicode_escape` are no texts. Any other counts as UTF-8, as does one that there isn't.
    """
    media_type = MEDIA_TYPE.match(value)
    if not media_type:
        return b""
    plain = media_type[1].lower()
    if boundary := BOUNDARY.search(value):
        plain += b'; boundary="' + (boundary[1] or boundary[2]) + b'"'
    if (charset := CHARSET.search(value)) and is_kept(charset[1].decode()):
        plain += b"; charset=" + charset[1]
    return plain


def is_kept(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name in CHARSETS
    except LookupError:
        return False
