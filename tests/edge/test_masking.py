"""Addresses are shown without what lets somebody in, however it was written."""

import random
import string

import pytest

from sightpost_edge.errors import SightpostError
from sightpost_edge.masking import without_password
from sightpost_edge.models import web
from sightpost_edge.sources import open_source
from sightpost_edge.support.scrub import Scrubber
from sightpost_edge.support.secrets import _of_address

NASTY = "#?/@:%&=_.$+!*~'\"<>[]{} \\"
PLACES = ("cam.lan:554/s", "192.168.1.5/live?channel=1&width=640", "[fe80::1]:8554/a/b", "cam")


def passwords(seed: int, number: int) -> list[str]:
    """Many begin with digits, as a port does, and hold what ends a host, a path or a login."""
    rng = random.Random(seed)
    letters = string.ascii_letters + string.digits * 3 + NASTY * 3
    return [
        "".join(rng.choices(string.digits, k=rng.randrange(4)))
        + "".join(rng.choices(letters, k=rng.randrange(4, 14)))
        for _ in range(number)
    ]


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https", "mqtt", "mqtts"])
def test_no_password_is_left_whatever_it_holds(scheme: str) -> None:
    """All that stands before the last "@" is gone; what follows it is shown as it is."""
    for number, word in enumerate(passwords(len(scheme), 2000)):
        place = PLACES[number % len(PLACES)]
        assert without_password(f"{scheme}://admin:{word}@{place}") == f"{scheme}://***@{place}"


def test_no_password_is_left_in_a_damaged_address() -> None:
    """With a lost slash or scheme, an "@" behind the host, and as a list's element."""
    for word in passwords(7, 2000):
        for address in (
            f"rtsp:/me:{word}@cam", f"me:{word}@cam", f"rtsp//me:{word}@cam",
            f"rtsp://me:{word}@cam/at@home", f"['rtsp://me:{word}@cam', 'x']",
            f"rtsp://a.b-c:{word}@cam", f"rtsp://:{word}@cam", f"http://cam.lan/me:{word}@x",
        ):  # fmt: skip
            assert word not in without_password(address), address


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://admin:2023#S3CRET@192.168.1.5/s", "rtsp://admin:#S3CRET@cam/s",
        "rtsp://admin:2023/S3CRET@cam/s", "rtsp://admin:?S3CRET@cam", "rtsp://a:80$S3CRET@cam",
        "rtsp://admin:20#23\nS3CRET@cam", "http://cam/s?pwd=12#S3CRET", "http://cam/s?pwd=a&S3CRET",
    ],
)  # fmt: skip
def test_what_looks_like_a_port_is_none_before_an_at(address: str) -> None:
    """Such an address never works, so it is printed at every start."""
    assert "S3CRET" not in without_password(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://192.168.1.5:8080/stream@2?mail=a@b", "http://[::1]:80/x@2", "http://cam.lan/x@2",
        "https://cam.lan/x?mail=a@b", "file:///home/me@work/a.mp4", "photos/me@home/a.jpg",
        "/mnt/a:b/c.mp4", "synthetic://line?seed=7", "v4l2:///dev/v4l/by-path/usb-0:1.3:1.0", "0",
    ],
)  # fmt: skip
def test_an_at_that_ends_no_login_is_shown(address: str) -> None:
    """Where host, port and path can be nothing else."""
    assert without_password(address) == address


@pytest.mark.parametrize("masked", ["rtsp://***@cam/1", "***@cam", "http://cam/s?pwd=***&x=1"])
def test_what_is_masked_stays_so(masked: str) -> None:
    """It is masked again on its way."""
    assert without_password(masked) == masked


@pytest.mark.parametrize("scheme", ["file", "folder"])
def test_a_camera_taken_for_a_file_is_not_quoted(scheme: str) -> None:
    """By whoever looks for a path of that name."""
    with pytest.raises(SightpostError) as caught:
        open_source(f"{scheme}://me:s3cret@cam/1")
    assert "cam/1" in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_a_models_address_is_shown_without_its_password() -> None:
    """Also where that is taken for a port and a path."""
    assert str(web.address("https://me:12/s3cret@host/m.tflite")) == "https://***@host/m.tflite"


@pytest.mark.parametrize("key", ["http://cam/s?pwd=12#S3CRET", "http://cam/s?pwd=a&S3CRET&x=1"])
def test_an_archive_knows_the_whole_of_a_password(key: str) -> None:
    """Not only what stands before a mark that nobody has encoded."""
    scrub = Scrubber(tuple(_of_address(key)))
    assert "S3CRET" not in scrub(f'source = "{key}"')
    assert "cam" in scrub(key)
