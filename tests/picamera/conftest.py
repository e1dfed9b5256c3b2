"""Says what was measured on the virtual camera."""

import pytest

from ..interop import sealed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sealed.report(terminalreporter, "picamera")
