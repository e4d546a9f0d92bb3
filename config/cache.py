"""Django's cache: in Redis, and in this process's memory while Redis is away."""

from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis import RedisError


def or_in_memory(name: str) -> Callable[..., Any]:
    """Return RedisCache's method of that name, which asks the memory where Redis fails."""

    def call(cache: "PatientCache", *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(RedisCache, name)(cache, *args, **kwargs)
        except RedisError:
            return getattr(cache.memory, name)(*args, **kwargs)

    return call


class PatientCache(RedisCache):
    """Holds the throttles of logging in: nobody may be locked out, and nobody let loose, because Redis is away.

    Each process counts for itself meanwhile.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.memory = LocMemCache("while Redis is away", params | {"OPTIONS": {}})

    add, get, set, touch, delete, incr, has_key = (
        or_in_memory(name) for name in ("add", "get", "set", "touch", "delete", "incr", "has_key")
    )
