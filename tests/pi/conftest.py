"""Says what was measured on the boards."""

import pytest

from ..interop import sealed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sealed.report(terminalreporter, "pi")
