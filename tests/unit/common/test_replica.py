"""What a replica asks of its process."""

import contextlib
import logging
from pathlib import Path

import pytest

from deployments.common.replica import survive_a_full_disk


def test_a_record_that_cannot_be_written_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)
    survive_a_full_disk()
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:
        handler = logging.StreamHandler(full)
        handler.handle(logging.makeLogRecord({"msg": "nowhere to go"}))
    assert capsys.readouterr().err == ""
