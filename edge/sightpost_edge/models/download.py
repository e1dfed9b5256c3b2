"""A file fetched over a bad link: goes on where it stopped, never larger than it was signed."""

import hashlib
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..durable import write_file
from ..errors import FetchFailed, SignatureRefused, writing_to
from ..polled import read_ordinary
from .unfinished import check_room, discard, note_of, opened_partial, write_all
from .web import Address, Answer, Dropped, asked

CHUNK = 64 * 1024
FLOOR_BYTES_S = 1024
WINDOW_S = 60.0
"""Slower than the floor over this time is no download but somebody who holds the line: 7 MB would
take two hours."""
BACK_OFF_S = (1.0, 2.0, 5.0, 15.0, 30.0)
"""Before another try after a drop; so many failures in a row end it."""
GAIN = 64 * 1024
"""A try that brought so much counts as no failure: on a train a link breaks every minute."""
_GOES_ON = "repeat the command: it goes on where it stopped"

Progress = Callable[[int, int], None]
Lost = Callable[[str], None]
"""Is told why a connection broke that is tried again."""


def quiet(done: int, size: int) -> None:
    """Tells nobody."""


def silent(why: str) -> None:
    """Tells nobody."""


class Download:
    """One file from the web; ``run`` returns when all of it is there."""

    def __init__(
        self,
        where: Address,
        size: int,
        into: Path,
        progress: Progress,
        clock_s: Callable[[], float],
        wait: Callable[[float], None],
        lost: Lost = silent,
    ) -> None:
        self._lost = lost
        self._where, self._size, self._into = where, size, into
        self._progress, self._clock_s, self._wait = progress, clock_s, wait
        self._have, self._validator = 0, ""

    def run(self) -> None:
        """Try until it is whole, five times in a row without gain at most.

        Raises:
            SignatureRefused, FetchFailed, DiskFull, StoreError: see ``fetch.fetch_model``.
        """
        self._recall()
        with opened_partial(self._into) as file:
            if self._have:
                self._have = file.seek(0, os.SEEK_END)
            if not 0 < self._have <= self._size:
                self._afresh(file)
            check_room(self._into, self._size - self._have)
            failures = 0
            while self._have < self._size:
                before = self._have
                try:
                    self._attempt(file)
                except Dropped as exc:
                    failures = 1 if self._have - before >= GAIN else failures + 1
                    self._after_drop(failures, exc)
            write_all(file, b"", self._into, sync=True)

    def _after_drop(self, failures: int, exc: Dropped) -> None:
        if failures > len(BACK_OFF_S):
            raise FetchFailed(
                f"{self._where}: {exc}; {self._have} of {self._size} bytes came", hint=_GOES_ON
            ) from exc
        self._lost(str(exc))
        self._wait(BACK_OFF_S[failures - 1])

    def _attempt(self, file: BinaryIO) -> None:
        with asked(self._where, self._range()) as answer:
            self._begin(answer, file)
            while self._have < self._size:
                with answer.within(2 * WINDOW_S):  # also where it drips between two reads
                    self._take(answer, file)
            self._refuse_more(answer)

    def _range(self) -> dict[str, str]:
        """Ask for the rest, and for all of it where the file there is another one by now."""
        if not self._have:
            return {}
        condition = {"If-Range": self._validator} if self._validator else {}
        return {"Range": f"bytes={self._have}-", **condition}

    def _begin(self, answer: Answer, file: BinaryIO) -> None:
        """Go on or start afresh, as the server answers; refuse a file of another size unread."""
        begins, total = _content_range(answer)
        if answer.status == 200:
            begins, total = 0, answer.number("Content-Length")
        if total is not None and total != self._size:
            self._refuse(f"the file there has {total} bytes, {self._size} were signed")
        validator = _validator(answer)
        changed = answer.status == 206 and self._validator not in ("", validator)
        if begins != self._have or changed:
            self._afresh(file)
        if begins != self._have:  # what is asked for next is all of it
            raise Dropped("the server does not go on where the last try stopped")
        if validator != self._validator:
            self._remember(validator)

    def _take(self, answer: Answer, file: BinaryIO) -> None:
        """What comes within a minute."""
        began_s, before = self._clock_s(), self._have
        while self._have < self._size and self._clock_s() - began_s < WINDOW_S:
            chunk = answer.read(min(CHUNK, self._size - self._have))
            if not chunk:
                raise Dropped("the connection ended early")
            write_all(file, chunk, self._into)
            self._have += len(chunk)
            self._progress(self._have, self._size)
        if self._have < self._size and self._have - before < FLOOR_BYTES_S * WINDOW_S:
            raise FetchFailed(
                f"{self._where}: slower than {FLOOR_BYTES_S} bytes a second; {self._have} of "
                f"{self._size} bytes came", hint=_GOES_ON,
            )  # fmt: skip

    def _refuse_more(self, answer: Answer) -> None:
        """A server that named no length may go on for ever."""
        if answer.number("Content-Length") is None:
            with suppress(Dropped), answer.within(WINDOW_S):
                if answer.read(1):
                    self._refuse(f"more than the {self._size} bytes that were signed come")

    def _refuse(self, why: str) -> None:
        discard(self._into)
        raise SignatureRefused(
            f"size: {self._where}: {why}", hint="model and signature must be those of one release"
        )

    def _afresh(self, file: BinaryIO) -> None:
        with writing_to(self._into):
            file.seek(0)
            file.truncate()
        self._have = 0
        self._remember("")

    def _recall(self) -> None:
        """What is known of an earlier try: ``_have`` is 1 where it was for the same file."""
        try:
            note = json.loads(read_ordinary(note_of(self._into), 4096, follow=False))
            if note["place"] == self._place():
                self._have, self._validator = 1, str(note["validator"])[:200]
        except (OSError, ValueError, TypeError, KeyError):
            return

    def _remember(self, validator: str) -> None:
        """Before the bytes it is about; a digest of the address, for that may hold a token."""
        self._validator = validator
        note = {"place": self._place(), "validator": validator}
        write_file(note_of(self._into), json.dumps(note).encode())

    def _place(self) -> str:
        return hashlib.sha256(f"{self._where.whole} {self._size}".encode()).hexdigest()


def _content_range(answer: Answer) -> tuple[int | None, int | None]:
    """Where a part begins, and the size of the whole; None where it does not say."""
    found = re.fullmatch(
        r"bytes (?:([0-9]{1,15})-[0-9]{1,15}|\*)/([0-9]{1,15}|\*)", answer.header("Content-Range")
    )
    if found is None:
        return None, None
    begins = None if found[1] is None else int(found[1])
    return begins, None if found[2] == "*" else int(found[2])


def _validator(answer: Answer) -> str:
    """What tells this content from a later one: a strong ETag, else the date; "" without."""
    tag = answer.header("ETag")
    found = tag if tag and not tag.startswith("W/") else answer.header("Last-Modified")
    return found if found.isascii() and found.isprintable() and len(found) <= 200 else ""
