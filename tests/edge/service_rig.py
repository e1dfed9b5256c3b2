"""A machine made up for services: files below a folder; accounts and units remembered."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from sightpost_edge.doctor.host import Ran
from sightpost_edge.models import ModelFolder
from sightpost_edge.models import install as models
from sightpost_edge.models.offer import look
from sightpost_edge.service.machine import Machine

from ..conftest import REPOSITORY

UNITS = REPOSITORY / "systemd"
PASSWD = "root:x:0:0:root:/root:/bin/bash\n"
GROUP = "root:x:0:\nvideo:x:44:pi\nrender:x:106:\n"


@dataclass(frozen=True, slots=True)
class MadeUp(Machine):
    """``ran`` are the commands that changed something; ``answers`` are those of commands that
    begin so, before anything else is tried; ``owners`` of what was not root's."""

    ran: list[str] = field(default_factory=list)
    answers: dict[str, Ran] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)

    @property
    def is_root(self) -> bool:
        return True

    def ask(self, *words: str, timeout_s: float = 0.0) -> Ran:
        line = " ".join(words)
        for begin, answer in self.answers.items():
            if line.startswith(begin):
                return answer
        if words[:2] == ("systemctl", "is-enabled"):
            return Ran(0, "enabled" if words[2] in self.enabled else "disabled")
        if words[:2] == ("systemctl", "is-active"):
            return Ran(0, "active" if words[2] in self.active else "inactive")
        if words[:2] == ("systemctl", "show"):
            return Ran(0, "NeedDaemonReload=no\n")
        if words[:2] == ("systemctl", "list-units"):
            rows = (f"{unit} loaded active running a camera\n" for unit in sorted(self.active))
            return Ran(0, "".join(rows))
        self.ran.append(line)
        self._do(words)
        return Ran(0)

    def owner(self, place: str | Path) -> str:
        path = self.path(place)
        real = Path("/") / (path.parent.resolve() / path.name).relative_to(self.root.resolve())
        known = [p for p in self.owners if real.is_relative_to(p)]
        return self.owners[max(known, key=len)] if known else "root:root"

    def _do(self, words: tuple[str, ...]) -> None:
        if words[0] == "useradd":
            self._append("passwd", "sightpost:x:990:990::/nonexistent:/usr/sbin/nologin\n")
            self._append("group", "sightpost:x:990:\n")
        elif words[0] == "usermod":
            for name in words[3].split(","):
                self._join(name)
        elif words[0] == "userdel":
            for kind in ("passwd", "group"):
                path = self.path(f"/etc/{kind}")
                path.write_text(re.sub("(?m)^sightpost:.*\n", "", path.read_text()))
        elif words[0] == "chown":
            self.owners[f"/{Path(words[3]).relative_to(self.root)}"] = words[2]
        elif words[1:3] == ("model", "install"):
            key = self.path(f"/etc/sightpost/{Path(words[5]).name}.pub")
            folder = ModelFolder(Path(words[5]) / "models", key=key)
            if "--unsigned" in words:
                models.install_unsigned(folder, words[3])
            else:
                models.install(folder, look(folder, words[3]), words[3])
        elif words[0] == "systemctl":
            self._systemctl(*words[1:])

    def _systemctl(self, verb: str, *rest: str) -> None:
        if verb == "enable":
            self.enabled.add(rest[0])
        elif verb == "restart":
            self.active.add(rest[-1])
        elif verb == "stop":
            self.active.discard(rest[0])
        elif verb == "disable":
            self.enabled.discard(rest[0])
            for link in self.path("/etc/systemd/system").glob(f"*.wants/{rest[0]}"):
                link.unlink()

    def _append(self, kind: str, line: str) -> None:
        path = self.path(f"/etc/{kind}")
        path.write_text(path.read_text() + line)

    def _join(self, name: str) -> None:
        path = self.path("/etc/group")
        lines = path.read_text().splitlines()
        joined = [
            f"{line}{'' if line.endswith(':') else ','}sightpost"
            if line.startswith(f"{name}:")
            else line
            for line in lines
        ]
        path.write_text("\n".join(joined) + "\n")


def made_up(root: Path) -> MadeUp:
    """A Raspberry Pi with the program in /opt/sightpost and nothing of a station."""
    machine = MadeUp(
        root,
        prefix=Path("/opt/sightpost"),
        base_prefix=Path("/usr"),
        python=Path("/usr/bin/python3"),
        package=Path("/opt/sightpost/lib/sightpost_edge"),
    )
    shipped = {f"{machine.package}/units/{p.name}": p.read_text() for p in UNITS.iterdir()}
    plain = {
        "/etc/passwd": PASSWD,
        "/etc/group": GROUP,
        "/opt/sightpost/bin/sightpost": "",
        "/usr/bin/python3": "",
        **shipped,
    }
    for place in ("/run/systemd/system", "/run/sightpost", "/dev", "/etc/systemd/system"):
        machine.path(place).mkdir(parents=True)
    for place, text in plain.items():
        path = machine.path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return machine


def tree(machine: MadeUp) -> dict[str, bytes]:
    """Every file and its content, to see whether anything was touched."""
    return {
        str(p.relative_to(machine.root)): p.read_bytes() if p.is_file() else b""
        for p in machine.root.rglob("*")
    }
