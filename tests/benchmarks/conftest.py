"""What these tests share with those of generations."""

from tests.generation.conftest import submit

__all__ = ["submit"]
