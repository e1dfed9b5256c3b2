"""The archive for a bug report: secrets are planted everywhere, and none of them gets out."""

import base64
import io
import json
import os
import pty
import stat
import subprocess
import tarfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightpost_edge.config import Site, load
from sightpost_edge.doctor.config import check_file
from sightpost_edge.doctor.host import Host, this_host
from sightpost_edge.support import gather as gathering
from sightpost_edge.support.archive import packed, write_private
from sightpost_edge.support.gather import Gathered, gather
from sightpost_edge.support.scrub import Scrubber, Secret
from sightpost_edge.support.secrets import is_hidden, scrubber_of, shown_config

from ..conftest import Cli, command
from ..faults.broker import free_port
from .doctor_rig import MadeUp, plant
from .doctor_store import a_store

BROKER = 'Pa$$w0rd "ü" \\1'
SECRETS = {
    "the broker's password": BROKER,
    "the broker's user": "brokeruser77",
    "the camera's user": "camera-user",
    "the camera's password": "C4m/p@ss",
    "a token in an address": "tok-9f8e7d6c",
    "another station's password": "neighbour-pass",
    "another station's broker": "neighbour-broker",
    "a password in a comment": "hunter2-comment",
    "an environment variable": "env-secret-123",
    "a proxy's login": "proxy-pass-77",
    "a wireless network": "HomeNet-5G",
    "its password": "wifi-pass-xyz",
    "netplan's network": "GardenNet",
    "netplan's password": "netplan-pass",
    "NetworkManager's network": "Barn:net",
    "a latitude": "52.70442",
    "a longitude": "23.84995",
    "a person": "Ada Lovelace",
    "a mail address": "ada@example.org",
    "a place": "Behind the old mill",
    "a token in a log": "log-token-4711",
    "a private key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
    "a minisign key": "RWRTY0IyAbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
    "a hardware address": "b8:27:eb:12:34:56",
    "an organization": "Millpond Society",
    "a user's folder": "carla.mueller",
    "somebody in a log": "bob@mail.example.com",
    "an address that was cut off": "cut-off-pass",
    "an unquoted key of a drop-in": "dropin-secret-9",
}
CAMERA = f"rtsp://camera-user:{quote('C4m/p@ss', safe='')}@10.0.0.9/live?token=tok-9f8e7d6c&x=1"
CONFIG = f"""
name = "gate"
model = "garden.tflite"   # password: hunter2-comment
source = "{CAMERA}"
[mqtt]
url = "mqtt://127.0.0.1:PORT"
username = "brokeruser77"
password_file = "/etc/sightpost/secret"
[deployment]
location = "Behind the old mill"
latitude = 52.70442
longitude = 23.84995
contact = "Ada Lovelace <ada@example.org>"
setup_by = "Ada Lovelace"
organization = "Millpond Society"
"""
LOG = "\n".join(
    f"2026-11-21T21:00:0{n % 10}+0000 pi sightpost[77]: {line}"
    for n, line in enumerate([
        "Traceback (most recent call last): cannot open " + CAMERA,
        "cannot open rtsp://camera-user:C4m/p@ss@10.0.0.9/live",
        f"password is {BROKER!r}, as JSON {json.dumps(BROKER)}, quoted {quote(BROKER)}",
        f"user brokeruser77 with {BROKER}",
        "Authorization: Basic "
        + base64.b64encode(f"brokeruser77:{BROKER}".encode()).decode(),
        "Authorization: Bearer log-token-4711",
        "GET /x?api_key=log-token-4711&y=2",
        "neighbour-pass neighbour-broker env-secret-123 proxy-pass-77",
        'joined SSID "HomeNet-5G" with psk=wifi-pass-xyz, then GardenNet (netplan-pass)',
        "then Barn:net; eth0 is up",
        "at 52.70442, 23.84995: Behind the old mill, Ada Lovelace ada@example.org",
        "-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
        "-----END PRIVATE KEY-----", SECRETS["a minisign key"],
        "wlan0: b8:27:eb:12:34:56 bob@mail.example.com",
        "at /home/carla.mueller/x.tflite and %2Fhome%2Fcarla.mueller%2Fy, Millpond Society",
        "Error: no space left at rtsp://someone:cut-off-pass",
        "sightpost@gate.service: Watchdog timeout (limit 30s)!",
    ])
)  # fmt: skip
WIRELESS = """[connection]
id=HomeNet-5G
[wifi]
ssid=HomeNet-5G
[wifi-security]
psk=wifi-pass-xyz
"""
NETPLAN = """network:
  wifis:
    wlan0:
      access-points:
        "GardenNet":
          password: "netplan-pass"
      dhcp4: true
"""


@pytest.fixture
def host(tmp_path: Path) -> MadeUp:
    return station(tmp_path)


def station(tmp_path: Path) -> MadeUp:
    """With secrets in every place from which anything is read."""
    config = CONFIG.replace("PORT", str(free_port()))
    plant(tmp_path, {
        "etc/sightpost/gate.toml": config,
        "etc/sightpost/secret": f"{BROKER}\n",
        "etc/sightpost/gate.mqtt-password": BROKER,
        "etc/sightpost/other.toml": 'source = "http://x:neighbour-pass@10.0.0.8/mjpg"\n',
        "etc/sightpost/other.mqtt-password": "neighbour-broker\n",
        "etc/NetworkManager/system-connections/HomeNet-5G.nmconnection": WIRELESS,
        "etc/netplan/50-wifi.yaml": NETPLAN,
        "var/lib/sightpost/gate/control.json": '{"v": 1, "armed": true, "note": "env-secret-123"}',
        "var/lib/sightpost/gate/lives.json": json.dumps({
            "v": 1, "bad": 4, "living": "", "rebooted": False,
            "ends": [{"at_ms": 1, "why": f"cannot open {CAMERA}"}],
        }),
        "var/lib/sightpost/gate/models/state.json": '{"token": "log-token-4711"}',
        "var/lib/sightpost/gate/models/versions/1-ab/model.tflite": "TFL3 neighbour-pass",
        "run/sightpost/gate/live.json": json.dumps({"detail": f"lost {CAMERA} {BROKER}"}),
        "var/lib/sightpost/gate/snapshots/000001.jpg": "JFIF neighbour-pass",
        "proc/self/mounts": "/dev/mmcblk0p2 / ext4 rw 0 0\n",
    })  # fmt: skip
    site = load(Site, tmp_path / "etc/sightpost/gate.toml")
    store = tmp_path / "var/lib/sightpost/gate"
    _with_health(store)
    shown = "LoadState=loaded\nActiveState=failed\nEnvironment=TOKEN=dropin-secret-9\n"
    return MadeUp(
        root=tmp_path, config=Path("/etc/sightpost/gate.toml"), site=site, station="gate",
        store=store, modules=("paho",), uid=1000,
        environ={"CAMERA_PASSWORD": "env-secret-123", "HOME": "/root",
                 "HTTPS_PROXY": "http://p:proxy-pass-77@proxy.lan:3128"},
        answers={
            "journalctl": LOG, "dmesg": f"[0.0] Linux\n[1.0] mmc0: card\n[2.0] usb 1-1: {LOG}\n",
            "systemctl show": shown, "systemctl status": f"sightpost@gate - {CAMERA}\n",
            "systemctl cat": "[Service]\nEnvironment=API_KEY=dropin-secret-9\n"
                             "# mqtt_password=dropin-secret-9\n",
            "iwgetid -r": "HomeNet-5G\n",
            "nmcli": "802-3-ethernet:eth0\n802-11-wireless:Barn\\:net\n",
        },
    )  # fmt: skip


def _with_health(store: Path) -> None:
    from sightpost_edge.records import Health
    from sightpost_edge.store import EventStore

    a_store(store, 3)
    with closing(
        EventStore(store, source=CAMERA, model="garden", model_digest="ab", live=True)
    ) as kept:
        from datetime import UTC, datetime

        kept.write_health(Health("timeout", False, f"no picture from {CAMERA}, {BROKER}",
                                 datetime.now(UTC), 1))  # fmt: skip


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return gather(station(tmp_path_factory.mktemp("station")))


def content(found: Gathered) -> str:
    with tarfile.open(fileobj=io.BytesIO(packed(found.files))) as archive:
        members = [archive.extractfile(member) for member in archive.getmembers()]
        return "\n".join(one.read().decode() for one in members if one is not None)


def test_no_secret_gets_out(gathered: Gathered) -> None:
    """Every one, in every form in which a program writes it, is nowhere in the archive."""
    text = content(gathered)
    for what, secret in SECRETS.items():
        forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
        forms.add(base64.b64encode(secret.encode()).decode().rstrip("="))
        assert [form for form in forms if form in text] == [], what
    assert gathered.left == ()


def test_what_helps_is_there(gathered: Gathered) -> None:
    """The findings, the log with its marks, the config, counts, what the camera did."""
    files = {name: file.decode() for name, file in gathered.files.items()}
    findings = json.loads(files["doctor.json"])["findings"]
    assert {"time.zone", "storage.space", "unit.restarts"} <= {one["check"] for one in findings}
    assert "rtsp://[removed]@10.0.0.9/live?token=[removed]&x=1" in files["journal.txt"]
    assert "sightpost@gate.service: Watchdog timeout" in files["journal.txt"]
    assert "eth0 is up" in files["journal.txt"]
    config = json.loads(files["config.json"])
    assert config["model"] == "garden.tflite"
    assert config["mqtt"]["username"] == config["deployment"]["latitude"] == "[removed]"
    assert config["mqtt"]["password_file"] == "/etc/sightpost/secret"
    assert json.loads(files["events.json"])["days"][0]["label"] == "fox"
    assert json.loads(files["health.json"])[0]["fault"] == "timeout"
    assert json.loads(files["models.json"])["files"] == {"versions/1-ab/model.tflite": 19}
    assert json.loads(files["states.json"])["lives.json"]["bad"] == 4
    assert "mmc0: card" in files["kernel.txt"]
    assert "      1 files  snapshots/" in files["store.txt"]
    assert {"versions.json", "machine.json", "units.txt", "README.txt"} <= set(files)
    assert json.loads(files["live.json"])["run/live.json"]["detail"].startswith("lost rtsp://")
    assert {"passwords", "user names", "places and people", "tokens"} <= set(gathered.removed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"v": 1, "armed": true, "threshold": null}',
         {"v": 1, "armed": True, "threshold": None}),
        ('{"v": 1, "armed": false, "note": "sesame-6", "sesame-7": 1}',
         {"v": 1, "armed": False, "fields left out": 2}),
        ('{"threshold": "sesame-6"}', {"fields left out": 1}),
        ('["sesame-6"]', "it is no JSON object"), ('{"note": "sesame-6"', "it is no JSON object"),
    ],
)  # fmt: skip
def test_of_control_only_what_a_run_reads(host: MadeUp, text: str, shown: object) -> None:
    """Its other fields are nobody knows whose: neither their names nor their values go."""
    (host.store / "control.json").write_text(text)
    found = gathering._states(host)
    assert found["control.json"] == shown
    assert "sesame" not in json.dumps(found)


def test_what_goes_and_what_stays_is_said(gathered: Gathered) -> None:
    """In the archive itself; our own libraries come first in the list of versions."""
    readme = gathered.files["README.txt"].decode()
    assert "Replaced by [removed]: passwords" in readme
    assert "Stays in, so look whether you mind: the station's name" in readme
    assert "gate" in readme
    listed = list(json.loads(gathered.files["versions.json"])["distributions"])
    ours = [name.lower().replace("_", "-") for name in listed].index("numpy")
    assert ours < len(gathering._OURS)


def test_what_the_config_loses_is_counted(host: MadeUp) -> None:
    """Without a log in which the same would stand again."""
    removed: Counter[str] = Counter()
    shown = shown_config(host, removed)
    assert shown["deployment"]["organization"] == "[removed]"
    assert removed == {"user names": 1, "places and people": 6}


@pytest.mark.parametrize("user", ["anna", "anna.mueller"])
def test_a_folder_below_home_goes_whole(user: str) -> None:
    """Whoever's it is; "anna" alone would leave the rest of the name."""
    scrub = Scrubber((Secret("anna", "user names"),))
    for text, rest in (
        (f"/home/{user}/x", "/home/[removed]/x"), (f"'/home/{user}'", "'/home/[removed]'"),
        (f"%2Fhome%2F{user}%2Fx", "%2Fhome%2F[removed]%2Fx"), ("/home/[removed]/x",) * 2,
    ):  # fmt: skip
        assert scrub(text) == rest
    assert scrub("ProtectHome=yes /homes/x /home") == "ProtectHome=yes /homes/x /home"


def test_an_unknown_section_does_not_lead_to_another_store(tmp_path: Path) -> None:
    """The config is no good for a run; where its store is can be read all the same."""
    config = tmp_path / "gate.toml"
    config.write_text(
        f'store = "{tmp_path / "events"}"\nmodel = "m.tflite"\nsource = "0"\nthreads = "x"\n'
        "[oven]\nhot = true\n"
    )
    host = this_host(config=config)
    assert host.trouble
    assert host.store == tmp_path / "events"
    assert host.site is not None
    assert (host.site.model, host.site.source) == ("m.tflite", "0")
    assert next(check_file(host)).level == "fault"


def test_no_picture_and_no_model(gathered: Gathered) -> None:
    """Not even under another name."""
    assert "JFIF" not in content(gathered)
    assert "TFL3" not in content(gathered)


def test_a_part_that_fails_is_said(host: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of a broken machine must not break, nor leak by its own message."""

    def broken(_host: Host) -> str:
        raise RuntimeError(f"no {BROKER} at {CAMERA}")

    monkeypatch.setattr(gathering, "examine", lambda *_words: [])
    monkeypatch.setattr(gathering, "PARTS", {"versions.json": broken})
    text = gather(host).files["versions.json"].decode()
    assert text.startswith("could not be had: RuntimeError: no [removed] at rtsp://[removed]@")


def test_a_config_that_is_no_toml_stays_here(host: MadeUp) -> None:
    """Nobody could tell its secrets apart; those that can be told are removed elsewhere."""
    text = CONFIG + '[mqtt\nmqtt_password = "typed-badly-8"  # oops\n'
    plant(host.root, {"etc/sightpost/gate.toml": text})
    assert shown_config(host, Counter())["config"] == "is not valid TOML"
    assert scrubber_of(host)("it was typed-badly-8, camera-user") == "it was [removed], [removed]"


def test_a_user_who_is_called_as_the_station_is(host: MadeUp) -> None:
    """Its name is on every line, and no secret."""
    assert host.site is not None
    plant(host.root, {"etc/sightpost/gate.toml": CONFIG.replace("brokeruser77", "gate")})
    named = replace(host.site, mqtt=replace(host.site.mqtt, username="gate"))
    assert scrubber_of(replace(host, site=named))("sightpost@gate") == "sightpost@gate"


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://me:a/b@c?d-sesame@10.0.0.9/live", "rtsp:/me:lost-sesame@10.0.0.9/live",
        "me:lost-sesame@10.0.0.9", "http://10.0.0.9/videostream.cgi?loginuse=me&loginpas=cam-sesame",
        "rtsp://10.0.0.9/user=me_password=path-sesame_channel=1&stream=0.sdp",
        "http://10.0.0.9/?user_pwd=cam-sesame#x", "http://token-sesame@10.0.0.9/",
        "http://me:caf%C3%A9-sesame@10.0.0.9/",
    ],
)  # fmt: skip
def test_addresses_as_people_write_them(tmp_path: Path, source: str) -> None:
    """Not encoded, mistyped, in the path: neither the address nor its password alone is left."""
    config = plant(tmp_path, {"etc/sightpost/gate.toml": f'source = "{source}"\n'})
    scrub = scrubber_of(MadeUp(root=config, config=Path("/etc/sightpost/gate.toml"), environ={}))
    words = [
        "a/b@c?d-sesame",
        "lost-sesame",
        "cam-sesame",
        "path-sesame",
        "token-sesame",
        "caf\xe9-sesame",
    ]
    there = [word for word in words if word in source or quote(word) in source]
    assert len(there) == 1
    for text in (f"cannot open {source}", f"tried {there[0]} again", f"{quote(there[0])}"):
        assert "sesame" not in scrub(text)


def test_a_short_secret_goes_as_a_word() -> None:
    """ "ab" in "about" is none; a text without any "a" would help nobody."""
    scrub = Scrubber((Secret("ab", "passwords"), Secret("7", "passwords")))
    assert scrub("about ab, ab=7 17") == "about [removed], [removed]=[removed] 17"


def test_what_only_looks_harmless_stays() -> None:
    """Ports, units, commands and file names are what a report is read for."""
    text = (
        "mqtts://broker.example:8883 sightpost@gate.service user@1000.service 10.0.0.9:554. "
        "http://[::1]:80/x rtsp://10.0.0.9:554/live, LoadCredential=x password_file = /etc/x "
        "the password is not asked for; latency 12.5 ms; v1.2.3 2026-11-21T21:00:00.123"
    )
    assert Scrubber()(text) == text


def test_removing_twice_changes_nothing(host: MadeUp) -> None:
    """Texts are looked through before and after they become JSON."""
    scrub = scrubber_of(host)
    once = scrub(LOG)
    counted = dict(scrub.removed)
    assert scrub(once) == once
    assert dict(scrub.removed) == counted


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=4),
    st.sampled_from(["{0}", "x={0}&y", "'{0}'", "{0}{0}", "http://u:{0}@h/"]),
)
@settings(max_examples=100, deadline=None)
def test_any_secret_is_found_in_any_text(secret: str, around: str) -> None:
    """As it is, and in JSON of it."""
    scrub = Scrubber((Secret(secret, "passwords"),))
    if not secret.strip() or secret in "[removed]" or secret in around:
        return
    for text in (around.format(secret), json.dumps({"k": around.format(secret)})):
        assert scrub.left_in(scrub(text)) == []


@pytest.mark.parametrize(
    ("key", "hidden"),
    [("password", True), ("username", True), ("api_key", True), ("latitude", True),
     ("password_file", False), ("ca_file", False), ("keyframe", False), ("url", False)],
)  # fmt: skip
def test_which_keys_are_hidden(key: str, hidden: bool) -> None:
    """A file's name is no secret, its content is."""
    assert is_hidden(key) is hidden


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """0600 whatever the umask; a failure leaves the old one and nothing beside it."""
    path, before = tmp_path / "x.tar.gz", os.umask(0)
    try:
        write_private(path, b"first")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_private(path, b"second")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"second", ["x.tar.gz"])


# The command


def test_without_a_terminal_it_asks_for_yes(cli: Cli, tmp_path: Path) -> None:
    """Nobody could look at what would be written; said at once, not after a minute."""
    done = cli("support", "--out", tmp_path / "x.tar.gz")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes writes it without asking" in done.stderr
    assert not (tmp_path / "x.tar.gz").exists()


@pytest.mark.parametrize(
    ("out", "says"), [("x.zip", "must end in .tar.gz"), ("none/x.tar.gz", "there is no folder")]
)
def test_a_wrong_place_is_refused_at_once(cli: Cli, tmp_path: Path, out: str, says: str) -> None:
    """Before anything is looked at; no folder is made."""
    done = cli("support", "--yes", "--out", tmp_path / out)
    assert done.returncode == 2
    assert says in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--config", "{}/nope.toml"), "no config file at {}/nope.toml"),
        (("--config", "{}/file/nope.toml"), "no config file at {}/file/nope.toml"),
        (("no-station-of-this-name",), "there is no station no-station-of-this-name here"),
    ],
)
def test_what_is_not_there_gives_no_archive(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    """A mistyped name or path, by the words and the code that other commands have."""
    (tmp_path / "file").touch()
    named = [word.format(tmp_path) for word in words]
    done = cli("support", *named, "--yes", "--out", tmp_path / "x.tar.gz")
    assert (done.returncode, done.stdout) == (2, "")
    assert says.format(tmp_path) in done.stderr
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("left", ["etc/sightpost/gate.toml", "var/lib/sightpost/gate/x"])
def test_half_a_station_gives_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """A config without a store, a store whose config is gone: that is what is to be found out."""
    from sightpost_edge.commands.support import support

    root = plant(tmp_path / "root", {left: ""})
    host = MadeUp(root=root, station="gate", store=root / "var/lib/sightpost/gate", environ={})
    monkeypatch.setattr("sightpost_edge.doctor.host.this_host", lambda *_words: host)
    monkeypatch.setattr(gathering, "examine", lambda *_words: [])
    support("gate", out=tmp_path / "x.tar.gz", yes=True)
    assert (tmp_path / "x.tar.gz").stat().st_size > 500


def test_the_whole_command(
    host: MadeUp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Shows files, sizes and what was removed on stderr, writes, prints the path on stdout."""
    from sightpost_edge.commands.support import support

    monkeypatch.setattr("sightpost_edge.doctor.host.this_host", lambda *_words: host)
    monkeypatch.setattr(gathering, "examine", lambda *_words: [])
    path = tmp_path / "report.tar.gz"
    support("gate", out=path, yes=True)
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert "journal.txt" in said.err
    assert "removed: " in said.err
    assert not any(secret in said.err for secret in SECRETS.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_secret_that_stayed_ends_it(
    host: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather no report than one with a secret in it."""
    from sightpost_edge.commands.support import support
    from sightpost_edge.errors import SightpostError

    monkeypatch.setattr("sightpost_edge.doctor.host.this_host", lambda *_words: host)
    monkeypatch.setattr(
        "sightpost_edge.support.gather.gather",
        lambda *_words: Gathered({"a": b"b"}, {}, ("passwords",)),
    )
    with pytest.raises(SightpostError, match="passwords could not be removed"):
        support("gate", out=tmp_path / "x.tar.gz", yes=True)
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_disk_that_takes_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its permissions are not to blame; and a name that is a path is no station's."""
    from sightpost_edge.commands.support import support
    from sightpost_edge.errors import ConfigError

    with pytest.raises(ConfigError, match="cannot be a station's name"):
        support("../x", yes=True)
    monkeypatch.setattr("sightpost_edge.doctor.mounts.takes_no_writes", lambda _folder: True)
    with pytest.raises(ConfigError, match="is read-only"):
        support(out=tmp_path / "x.tar.gz", yes=True)


@pytest.mark.slow
def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    """No is no; the list comes first."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        command("support", "--out", tmp_path / "x.tar.gz"), stdin=follower, stdout=subprocess.PIPE,
        stderr=follower, text=True,
    ) as process:  # fmt: skip
        os.close(follower)
        os.write(leader, b"n\n")
        seen = b""
        while b"nothing was written" not in seen:
            seen += os.read(leader, 4096)
        out, _ = process.communicate(timeout=60)
    os.close(leader)
    assert (process.returncode, out) == (1, "")
    assert seen.index(b"doctor.json") < seen.index(b"write it?")
    assert not (tmp_path / "x.tar.gz").exists()
