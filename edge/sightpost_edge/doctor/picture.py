"""A few test frames of the configured source, looked at in a child: a driver may hang or crash."""

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .host import CRASHED, Host

if TYPE_CHECKING:
    from ..config import Site
    from ..records import Frame
    from ..sources import Source

FRAMES, LEAST_S, MOST_S = 3, 1.5, 8.0
"""Automatic exposure needs about a second; a frozen camera is told by as much of one picture."""
CHILD_S = 30.0
"""Imports and a camera's start take 8 s on a Zero 2; a source itself gives up after 10."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What the frames showed: ``fault`` is "" or one of ``records.FAULTS``, or "frozen".

    ``frames`` 0: there was none, and ``failure`` says why, ``hint`` what to do.
    """

    frames: int = 0
    width: int = 0
    height: int = 0
    fault: str = ""
    detail: str = ""
    failure: str = ""
    hint: str = ""


def look(host: Host, site: "Site") -> Seen:
    """Take the frames and say what they show."""
    question = {"source": site.source, "camera": dataclasses.asdict(site.camera)}
    said = host.ask("picture", question, timeout_s=CHILD_S)
    return Seen(failure=f"opening it {said[CRASHED]}") if CRASHED in said else Seen(**said)


def is_camera(uri: str) -> bool:
    """Whether what it shows is to be mended: a recording is as it is."""
    return uri.isdigit() or uri.startswith(("picamera:", "v4l2:", "rtsp", "http", "/dev/"))


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The child: open the source, look, and tell."""
    from ..config import build
    from ..errors import SightpostError
    from ..sources import open_source
    from ..sources.settings import CameraSettings

    logging.disable()
    try:
        camera = build(CameraSettings, question["camera"], where="camera")
        source = open_source(question["source"], camera=camera)
        try:
            seen = _seen(_some(source), camera=is_camera(question["source"]))
        finally:
            source.close()
    except SightpostError as exc:
        seen = Seen(failure=str(exc), hint=exc.hint)
    return dataclasses.asdict(seen)


def _some(source: "Source") -> "list[Frame]":
    """The first frames of a recording; of a camera those of the first seconds."""
    began_s = time.monotonic()
    frames: list[Frame] = []
    for frame in source:
        frames = [*frames[-FRAMES + 1 :], frame]
        passed_s = time.monotonic() - began_s
        enough = len(frames) >= FRAMES and (passed_s >= LEAST_S or not source.live)
        if enough or passed_s >= MOST_S:
            break
    return frames


def _seen(frames: "list[Frame]", *, camera: bool) -> Seen:
    if not frames:
        return Seen(failure="it ended before the first picture")
    image = frames[-1].image
    fault, detail = _judged(frames[-1]) if camera else ("", "")
    sums = {frame.image.checksum() for frame in frames}
    if camera and not fault and len(frames) == FRAMES and len(sums) == 1:
        fault, detail = "frozen", f"{FRAMES} times the same to the last bit"
    return Seen(len(frames), image.width, image.height, fault, detail)


def _judged(frame: "Frame") -> tuple[str, str]:
    from ..detail import half, sharp_in_itself, sharp_picture, tiles
    from ..judge import FrameJudge

    verdict = FrameJudge().see(frame)
    if verdict.fault or verdict.luma is None:
        return verdict.fault, "nothing can be told apart on it"
    fine, coarse = tiles(sharp_picture(frame.image)), tiles(half(verdict.luma))
    if sharp_in_itself(fine, coarse):
        return "", ""
    return "blurred", "no fine detail anywhere"
