"""Options of the tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the soak in its long form: hours")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether tests that have a long form are to take it."""
    return bool(request.config.getoption("--long"))
