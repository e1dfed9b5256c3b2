"""Writes docs/cli.md from the programs' own --help, so that it cannot be wrong for long."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "cli.md"
COMMANDS = (
    (), ("demo",), ("data",), ("data", "check"), ("data", "split"), ("data", "preview"),
    ("train",), ("convert",), ("inspect",), ("bench",), ("classify",), ("run",),
    ("replay",), ("why",), ("events",), ("events", "list"), ("events", "show"),
    ("events", "health"), ("events", "count"), ("events", "chart"), ("events", "mark"),
    ("events", "unmark"), ("events", "samples"), ("events", "export"), ("uplink",),
    ("service",), ("service", "install"), ("service", "status"), ("service", "logs"),
    ("service", "uninstall"), ("doctor",), ("support",), ("model",), ("model", "install"),
    ("model", "list"), ("model", "use"), ("model", "rollback"), ("model", "trust"),
    ("keys",), ("keys", "new"), ("keys", "show"), ("keys", "sign"),
)  # fmt: skip


def page() -> str:
    """The whole page, as --help says it in a terminal of 100 columns."""
    program = "from sightpost_edge.cli import main; main()"
    parts = ["# Commands\n\nWritten by `make docs` from `--help`.\n"]
    for command in COMMANDS:
        words = [sys.executable, "-c", program, *command, "--help"]
        text = subprocess.run(
            words, capture_output=True, text=True, check=True, env={"COLUMNS": "100"}
        ).stdout
        title = " ".join(("sightpost", *command))
        parts.append(f"## {title}\n\n```\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
