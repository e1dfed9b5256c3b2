"""Photo folders as people have them: what is wrong is named before training, nothing is touched."""

import subprocess
import sys
from pathlib import Path

import pytest

from sightpost_edge.sources.folder import printable
from sightpost_train.check import check
from sightpost_train.listing import read_listing

from ..train import ugly_corpus
from ..train.test_check import MEASURE, MEMORY_LIMIT, kinds_by_path, state
from .conftest import ReportFault


@pytest.mark.slow
def test_what_is_wrong_is_named_and_nothing_touched(
    tmp_path: Path, report_fault: ReportFault
) -> None:
    """All but one at most of the corpus of tests/train, which has more than the thirty asked for;
    the fake end mark alone may be missed. Pictures that announce gigapixels stay unopened."""
    cases = ugly_corpus.build(tmp_path / "p")
    before = state(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "p")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak = int(done.stdout.split()[1])
    kinds = kinds_by_path(check(read_listing(tmp_path / "p")).findings)
    touched = sum(before.get(name) != now for name, now in state(tmp_path).items())
    named = [case for case in cases if case.kinds]
    missed = [case.path for case in named if not kinds[printable(case.path)] & set(case.kinds)]
    wronged = [case.path for case in cases if not case.kinds and kinds[printable(case.path)]]
    broken = max(0, len(missed) - 1) + len(wronged) + touched + (peak > MEMORY_LIMIT)
    report_fault(
        "16 ugly photos", len(named), broken, None,
        f"{len(named) - len(missed)} of {len(named)} named up front, {touched} files touched, "
        f"peak {peak / 2**20:.0f} MiB",
    )  # fmt: skip
    assert len(named) >= 30
    assert not broken, (missed, wronged, touched, peak)
