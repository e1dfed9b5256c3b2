"""Who else is there: the uplink, which may fail as it likes, and whoever gets into a unit."""

import json
import os
import signal
import socket
import time
from pathlib import Path

from machine import (
    UPLINK,
    events,
    fact,
    installed,
    kill,
    live,
    main_pid,
    now_s,
    ran,
    ready_since_s,
    restarts,
    said,
    scene,
    stayed_up,
    wait_for,
    write_unit,
)

BROKER = '[mqtt]\nurl = "mqtt://127.0.0.1:1883"\nusername = "line"\n'
SECRET = "a broker's secret"


@scene
def uplink() -> None:
    """A broker that never answers, then a killed, then a hung uplink: the camera does not care."""
    password = Path("/root/password")
    password.write_text(SECRET)
    password.chmod(0o600)
    listener = socket.create_server(("127.0.0.1", 1883))
    installed(more=f'{BROKER}password_file = "{password}"')
    fact(greeted=SECRET in greeting(listener))
    listener.close()
    pid = main_pid()
    killed_s = kill(UPLINK)
    back_s = wait_for("the uplink again", lambda: later(ready_since_s(UPLINK), killed_s), 60.0)
    fact(uplink_back_s=back_s - killed_s)
    time.sleep(3)
    os.kill(main_pid(UPLINK), signal.SIGSTOP)
    before, looked = events(), live("frames")
    told = stayed_up(45.0)
    fact(
        told=told,
        restarts=restarts(),
        same_process=main_pid() == pid,
        before=before,
        after=events(),
        frames=[looked, live("frames")],
    )


def greeting(listener: socket.socket) -> str:
    """What the uplink says first; the broker never answers."""
    listener.settimeout(60.0)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10.0)
        return connection.recv(4096).decode(errors="replace")


def later(stamp_s: float, moment_s: float) -> float:
    return stamp_s if stamp_s > moment_s else 0.0


@scene
def sandbox() -> None:
    """A probe in place of the program, under the units' own directives; as root once more."""
    installed()
    Path("/home/somebody").mkdir()
    password = Path("/etc/sightpost/line.mqtt-password")
    password.write_text(SECRET)
    password.chmod(0o600)
    probe("sightpost@", "probe")
    probe("sightpost-uplink@", "probe")
    probe("sightpost@", "root", user="root")


def probe(unit: str, name: str, user: str = "") -> None:
    """Its line of JSON; the unit's template with nothing changed but what is run."""
    began_s = now_s()
    lines = ["[Service]", "Type=oneshot", "Restart=no", "ExecStart="]
    lines += [f"ExecStart=/usr/bin/python3 /job/inside/probe.py %S/sightpost/{name}"]
    lines += [f"User={user}", f"Group={user}"] if user else []
    write_unit(f"{unit}{name}.service.d/probe.conf", "\n".join(lines) + "\n")
    ran("systemctl", "start", f"{unit}{name}.service")
    told = [line for _, line in said(f"{unit}{name}.service", began_s)]
    print(told)
    fact(**{f"{unit}{user}": next(json.loads(line) for line in told if line.startswith("{"))})
