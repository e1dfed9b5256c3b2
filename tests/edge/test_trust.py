"""Whose models a station takes: the same key, by whatever way its folder is reached."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sightpost_edge.errors import ConfigError, StoreError
from sightpost_edge.minikeys import new_keys
from sightpost_edge.models import ModelFolder
from sightpost_edge.models.trust import read_trusted, trust, trusted_key_path
from sightpost_edge.service.places import Places


class Roots:
    """/var/lib/sightpost, /etc/sightpost and an SSD, made up."""

    def __init__(self, folder: Path) -> None:
        self.lib, self.etc, self.ssd = folder / "lib", folder / "etc", folder / "ssd"
        for one in (self.lib, self.etc, self.ssd):
            one.mkdir()

    def key(self, models: Path) -> Path:
        return trusted_key_path(models, state_root=self.lib, config_root=self.etc)

    def kept_by(self, models: Path) -> str:
        """The service whose key counts for a folder; "" where that is its own."""
        key = self.key(models)
        assert key in (models / "trusted.pub", self.etc / key.name)
        return key.stem if key.parent == self.etc else ""


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots(tmp_path)


def test_a_store_on_an_ssd_keeps_its_key(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linked from either side, mounted or not, asked for in any way."""
    (away := roots.ssd / "gate").mkdir()
    (away / "models").mkdir()
    (roots.lib / "gate").symlink_to(away)
    (home := roots.ssd / "home").symlink_to(roots.lib / "gate")
    (to_models := roots.ssd / "m").symlink_to(home / "models")
    ways = [roots.lib / "gate", away, home, home / ".." / "gate", away / "models" / ".."]
    found = {str(way): roots.kept_by(way / "models") for way in ways}
    found["models"] = roots.kept_by(to_models)
    found["above"] = roots.kept_by(away / "models" / ".." / "models")
    found["inside"] = roots.kept_by(away / "models" / "versions" / "..")
    monkeypatch.chdir(away / "models")
    found["here"] = roots.kept_by(Path("."))
    monkeypatch.chdir(roots.lib / "gate")
    found["relative"] = roots.kept_by(Path("models/"))
    monkeypatch.chdir(roots.ssd)
    shutil.rmtree(away)
    found |= {f"unmounted {way}": roots.kept_by(way / "models") for way in ways[:3]}
    assert {way: name for way, name in found.items() if name != "gate"} == {}


def test_links_within_the_services_folder(roots: Roots, tmp_path: Path) -> None:
    """All of it may be elsewhere; a store has the name by which its unit calls it."""
    shutil.move(roots.lib, roots.ssd / "sightpost")
    roots.lib.symlink_to(roots.ssd / "sightpost")
    assert roots.kept_by(roots.lib / "gate" / "models") == "gate"
    (roots.lib / "gate").mkdir()
    assert roots.kept_by(roots.ssd / "sightpost" / "gate" / "models") == "gate"
    (roots.lib / "new").symlink_to("gate")
    assert roots.kept_by(roots.lib / "new" / "models") == "new"
    assert roots.kept_by(roots.lib / "gate" / "models") == "gate"
    (roots.ssd / "b").mkdir()
    for name in ("b", "c"):
        (roots.lib / name).symlink_to(roots.ssd / "b")
    (roots.etc / "c.pub").touch()
    assert roots.kept_by(roots.ssd / "b" / "models") == "c"  # rather than to trust no key
    assert roots.kept_by(roots.lib / ".." / "sightpost" / "b" / "models") == "b"
    assert roots.kept_by(tmp_path / "own" / "models") == ""
    assert roots.kept_by(roots.ssd / "sightpost" / "models") == ""


def test_models_on_an_ssd_keep_their_key(roots: Roots) -> None:
    """The model folder alone, linked by root; a link by the service gives its key to nobody."""
    for name in ("gate", "stolen"):
        (roots.ssd / name).mkdir()
        (roots.lib / name).mkdir()
        (roots.lib / name / "models").symlink_to(roots.ssd / name)
        assert roots.kept_by(roots.lib / name / "models") == name
        assert roots.kept_by(roots.ssd / name) == name
    if os.geteuid() != 0:
        pytest.skip("only root makes links of others")
    os.lchown(roots.lib / "stolen" / "models", 12345, 12345)
    assert roots.kept_by(roots.ssd / "stolen") == ""
    assert roots.kept_by(roots.lib / "stolen" / "models") == "stolen"


def test_a_store_that_is_mounted_twice_keeps_its_key(roots: Roots) -> None:
    """A bind mount shows in no path."""
    (roots.ssd / "gate" / "models").mkdir(parents=True)
    (roots.lib / "gate").mkdir()
    program = (
        "import sys; from pathlib import Path; from sightpost_edge.models.trust import *; "
        "models, lib, etc = map(Path, sys.argv[1:]); "
        "print(trusted_key_path(models, state_root=lib, config_root=etc).name)"
    )
    script = 'mount --bind "$1" "$2" || exit 77; shift 2; exec "$@"'
    words = [roots.ssd / "gate", roots.lib / "gate", sys.executable, "-c", program,
             roots.ssd / "gate" / "models", roots.lib, roots.etc]  # fmt: skip
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, words)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if ran.returncode in (1, 77) and "Error" not in ran.stderr:
        pytest.skip(f"nothing can be mounted here: {ran.stderr.strip()}")
    assert ran.stdout == "gate.pub\n", ran.stderr


def test_the_service_asks_where_the_run_does() -> None:
    """What ``service install`` writes is what its run reads."""
    places = Places("gate")
    assert ModelFolder(Path(places.models)).key == Path(places.key)
    assert ModelFolder(Path(f"{places.state}/../gate/./models/")).key == Path(places.key)


def test_a_key_on_a_disk_that_is_not_there_is_not_no_key(tmp_path: Path) -> None:
    """Unsigned models would come in until it is mounted."""
    (path := tmp_path / "gate.pub").symlink_to(tmp_path / "ssd" / "gate.pub")
    with pytest.raises(StoreError, match=r"leads to .*ssd/gate\.pub, and there is nothing"):
        read_trusted(path)
    (tmp_path / "ssd").mkdir()
    key = new_keys().public
    trust(tmp_path / "ssd" / "gate.pub", key)
    assert read_trusted(path) == key


def test_where_the_trusted_key_lies(tmp_path: Path) -> None:
    """Of a service in /etc, which it cannot write; links to its store change nothing."""
    roots = {"state_root": tmp_path / "lib", "config_root": tmp_path / "etc"}
    service = tmp_path / "lib" / "garden"
    service.mkdir(parents=True)
    assert trusted_key_path(service / "models", **roots) == tmp_path / "etc" / "garden.pub"
    (tmp_path / "link").symlink_to(service)
    assert trusted_key_path(tmp_path / "link" / "models", **roots).name == "garden.pub"
    (tmp_path / "link" / "models").symlink_to(tmp_path)
    assert trusted_key_path(service / "models", **roots).name == "garden.pub"
    own = tmp_path / "home" / "models"
    assert trusted_key_path(own, **roots) == own / "trusted.pub"
    deeper = service / "cache" / "models"
    assert trusted_key_path(deeper, **roots) == deeper / "trusted.pub"


def test_a_damaged_key_is_not_the_same_as_none(tmp_path: Path) -> None:
    """Unsigned models would come in else."""
    path = tmp_path / "k.pub"
    assert read_trusted(path) is None
    for content in (b"", b"\xff\xfe", b"RWQ", b"x" * 9000):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be used"):
            read_trusted(path)
    with pytest.raises(ConfigError):
        trust(path, new_keys().public)
    key = new_keys().public
    assert trust(path, key, replace=True)
    assert not trust(path, key)
    assert read_trusted(path) == key
    assert oct(path.stat().st_mode & 0o777) == "0o644"
