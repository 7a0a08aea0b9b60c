"""Say to the type checker what a test takes for granted, and fail where it is not so."""

from typing import TypeVar

T = TypeVar("T")


def there(value: T | None) -> T:
    """The value, which is not None."""
    assert value is not None
    return value
