"""The order of all tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that may take long before others: at the end, one process would wait for them alone."""

    def seconds(item: pytest.Item) -> float:
        module = item.getparent(pytest.Module)
        limit = module.get_closest_marker("timeout") if module else None
        return float(limit.args[0]) if limit else 0.0

    items.sort(key=seconds, reverse=True)
