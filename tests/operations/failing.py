"""A web application that fails with secrets in what it says, for config.serve to run."""

from typing import Any


async def application(scope: Any, receive: Any, send: Any) -> None:
    raise ConnectionError(f"redis://:a-very-secret-thing@127.0.0.1/0 refuses sk_{'x' * 43}")
