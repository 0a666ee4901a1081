"""The command against a server that fails as it is told to."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

import densenet_client
from densenet_client.cli import explain
from densenet_client.errors import ServerUnreachable
from testing.fake_service import FakeService, delay, refuse
from testing.ports import find_free_port
from tests.command import COMMAND, ROOT, environment, run, run_in_terminal, start

COUNT = 40


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(COUNT):
        (folder / f"{i:03}.jpg").write_text(f"image-{i}")
    return folder


def test_all_are_classified_in_order_and_the_status_is_0(fake: FakeService, photos: Path) -> None:
    done = run(photos, "--url", fake.url, "--format", "json", "--top-k", "2")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows] == [str(photos / f"{i:03}.jpg") for i in range(COUNT)]
    assert [row["predictions"][1]["class_name"] for row in rows] == [
        f"image-{i}_2" for i in range(COUNT)
    ]


def test_csv_can_be_read_as_csv(fake: FakeService, photos: Path) -> None:
    done = run(photos, "--url", fake.url, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == COUNT
    assert rows[7]["class_name"] == "image-7_1"


def test_the_status_is_1_when_some_fail(fake: FakeService, photos: Path) -> None:
    (photos / "007.jpg").write_text("broken")
    done = run(photos, photos / "missing.jpg", "--url", fake.url)
    assert done.returncode == 1
    assert "undecodable_image: the file is broken" in done.stdout
    assert "missing.jpg  unreadable_file: No such file or directory" in done.stdout
    assert len(done.stdout.splitlines()) == COUNT + 1
    first, second = done.stderr.splitlines()
    assert first.startswith("classify: 41 images, 39 classified, 2 failed (")
    assert second == (
        f"classify: failed: {photos}/007.jpg (undecodable_image), "
        f"{photos}/missing.jpg (unreadable_file)"
    )


def test_the_summary_names_ten_failures_and_counts_the_others(
    fake: FakeService, photos: Path, tmp_path: Path
) -> None:
    for i in range(15):
        (photos / f"{i:03}.jpg").write_text("broken")
    done = run(photos, "--url", fake.url, "--format", "csv", "-o", tmp_path / "results.csv")
    summary, failed = done.stderr.splitlines()
    assert "40 images, 25 classified, 15 failed" in summary
    assert failed.count("undecodable_image") == 10
    assert failed.endswith(" and 5 more")


def test_a_terminal_shows_a_summary_although_results_go_to_a_file(
    fake: FakeService, photos: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    painted = run_in_terminal(
        photos, "--url", fake.url, "--format", "csv", "-o", tmp_path / "results.csv"
    )
    elapsed_s = time.monotonic() - started
    match = re.search(r"40 images, 40 classified, 0 failed \(([\d.]+) images/s\)", painted)
    assert match, painted
    assert float(match[1]) >= COUNT / elapsed_s


def test_the_rate_is_that_of_the_whole_run(fake: FakeService, photos: Path) -> None:
    fake.always = delay(0.2)
    painted = run_in_terminal(photos, "--url", fake.url, "--concurrency", "1")
    rates = [float(rate) for rate in re.findall(r"([\d.]+) images/s", painted)]
    assert rates
    assert max(rates) <= 8 / 0.2


def test_pictures_in_formats_that_are_left_out_are_reported(
    fake: FakeService, photos: Path
) -> None:
    for name in ("a.heic", "b.HEIC", "c.avif", "notes.txt"):
        (photos / name).touch()
    done = run(photos, "--url", fake.url)
    assert done.returncode == 0
    assert done.stderr == (
        "classify: left out 3 images with suffixes of formats that the service cannot read: "
        "2 .heic, 1 .avif\n"
    )
    assert len(done.stdout.splitlines()) == COUNT


def test_a_folder_of_nothing_but_other_formats_is_named(fake: FakeService, tmp_path: Path) -> None:
    (tmp_path / "a.heic").touch()
    done = run(tmp_path, "--url", fake.url)
    assert done.returncode == 2
    assert "no photos there" in done.stderr
    assert "1 image with suffixes of formats that the service cannot read: 1 .heic" in done.stderr


def test_a_pipe_in_a_folder_does_not_stop_it(fake: FakeService, photos: Path) -> None:
    os.mkfifo(photos / "x.jpg")
    done = run(photos, photos / "*.jpg", "--url", fake.url)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == COUNT


def test_a_pipe_that_is_named_is_read(fake: FakeService) -> None:
    command = f"{' '.join(COMMAND)} <(printf cat) --format json --url {fake.url}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, env=environment(), check=True, timeout=60
    )
    assert json.loads(done.stdout)["predictions"][0]["class_name"] == "cat_1"


def test_names_of_any_length_line_up_in_a_pipe(fake: FakeService, photos: Path) -> None:
    (photos / f"{'long' * 20}.jpg").write_text("cat")
    (photos / "déjà 猫.jpg").write_text("broken")
    lines = run(photos, "--url", fake.url).stdout.splitlines()
    assert len({cell_len(line[: line.index(" %")]) for line in lines if " %" in line}) == 1


def test_the_url_comes_from_the_environment(fake: FakeService, photos: Path) -> None:
    assert run(photos, DENSENET_URL=fake.url).returncode == 0
    assert run(photos, "--url", fake.url, DENSENET_URL="http://localhost:1").returncode == 0


def test_help_names_every_default_and_both_variables() -> None:
    text = " ".join(run("--help", DENSENET_URL="http://photos.example:5000").stdout.split())
    for part in (
        "(default: http://photos.example:5000)",
        "how many classes to name (default: 1)",
        "(default: table)",
        "(default: standard output)",
        "requests at a time (default: 4)",
        "(default: those of this machine)",
        "DENSENET_URL",
        "DENSENET_API_KEY",
    ):
        assert part in text


def test_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"classify {densenet_client.__version__}\n"


def test_a_missing_key_is_told_where_to_be_put(fake: FakeService, photos: Path) -> None:
    fake.always = refuse(401, "unauthorized")
    done = run(photos, "--url", fake.url, DENSENET_API_KEY="")
    assert done.returncode == 2
    assert done.stderr.endswith("; put it into the environment variable DENSENET_API_KEY\n")


def test_the_option_names_of_version_1_0_are_taken(
    fake: FakeService, photos: Path, tmp_path: Path
) -> None:
    target = tmp_path / "results.csv"
    done = run(photos, "--url", fake.url, "--output", "csv", "--to", target)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(target.read_text().splitlines()) == COUNT + 1
    assert "--to" not in run("--help").stdout.replace("--top-k", "")


def test_standard_input_is_one_image(fake: FakeService) -> None:
    done = run("-", "--url", fake.url, "--format", "json", stdin=b"cat")
    assert done.returncode == 0
    row = json.loads(done.stdout)
    assert (row["name"], row["predictions"][0]["class_name"]) == ("-", "cat_1")


def test_the_status_is_2_when_nothing_answers(photos: Path) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    done = run(photos, "--url", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"classify: nothing answers at {url}: connection refused; "
        "start the service with `make serve`, or name another with --url\n"
    )


def test_nothing_is_said_of_make_serve_where_the_service_is_on_another_machine() -> None:
    error = ServerUnreachable("nothing answers at http://photos.example: connection refused")
    assert explain(error, "http://photos.example") == str(error)


def test_no_rate_is_given_where_nothing_was_classified(fake: FakeService, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("broken")
    done = run(tmp_path, "--url", fake.url)
    assert done.stderr.startswith("classify: 1 image, 0 classified, 1 failed\n")


@pytest.mark.parametrize(
    ("unknown", "meant"),
    [("--topk", "--top-k"), ("--topk=3", "--top-k"), ("--concurency", "--conc")],
)
def test_an_unknown_option_gets_the_nearest_one(unknown: str, meant: str) -> None:
    done = run("photos", unknown)
    assert done.returncode == 2
    assert f"unrecognized arguments: {unknown}; did you mean {meant}" in done.stderr


def test_an_unknown_option_like_no_other_gets_no_suggestion() -> None:
    assert run("photos", "--zzz").stderr.endswith("unrecognized arguments: --zzz\n")


def test_the_status_is_2_when_the_key_is_refused(fake: FakeService, photos: Path) -> None:
    fake.always = refuse(401, "unauthorized")
    done = run(photos, "--url", fake.url, DENSENET_API_KEY="wrong")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "classify: says unauthorized\n"
    assert fake.seen[0].headers["Authorization"] == "Bearer wrong"


def test_the_status_is_2_when_there_is_no_photo(fake: FakeService, tmp_path: Path) -> None:
    done = run(tmp_path, "--url", fake.url)
    assert (done.returncode, done.stderr) == (2, f"classify: no photos there: {tmp_path}\n")


@pytest.mark.parametrize(
    "arguments",
    [(), ("--top-k", "0", "a"), ("--resume", "a"), ("--resume", "-o", "x", "a")],
)
def test_the_status_is_2_when_it_is_called_wrongly(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: classify" in done.stderr


def test_results_are_never_written_over(fake: FakeService, photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "results.csv"
    target.write_text("mine")
    done = run(photos, "--url", fake.url, "--format", "csv", "-o", target)
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert target.read_text() == "mine"


def test_a_result_is_printed_while_others_are_still_to_come(
    fake: FakeService, photos: Path
) -> None:
    fake.faults.extend([delay(0)])
    fake.always = delay(1.0)
    process = start(photos, "--url", fake.url, "--format", "json", "--concurrency", "1")
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    assert process.poll() is None
    assert len(fake.seen) < COUNT / 8
    assert len(process.stdout.readlines()) == COUNT - 1
    process.communicate(timeout=60)


@pytest.mark.parametrize("output", ["json", "csv"])
def test_what_was_done_is_kept_after_an_interrupt_and_resumed(
    fake: FakeService, photos: Path, tmp_path: Path, output: str
) -> None:
    target = tmp_path / "results"
    arguments = (photos, "--url", fake.url, "--format", output, "-o", target, "--resume")
    fake.faults.extend([delay(0)] * 2)
    fake.always = delay(5.0)
    process = start(*arguments, "--concurrency", "1")
    # The third request has come too: none of what is interrupted is counted with what follows.
    while len(fake.seen) < 3 or len(target.read_text().splitlines()) < 16:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    # A signal that comes just before the wait for an answer is seen when that wait ends.
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert err == "classify: stopped; what is written stays written\n"

    fake.always = None
    fake.seen.clear()
    assert run(*arguments).returncode == 0
    assert sum(len(seen.images) for seen in fake.seen) == COUNT - 16
    text = target.read_text()
    assert all(text.count(f"{i:03}.jpg") == 1 for i in range(COUNT))


def test_resuming_what_is_complete_sends_nothing(
    fake: FakeService, photos: Path, tmp_path: Path
) -> None:
    arguments = (photos, "--url", fake.url, "--format", "csv", "-o", tmp_path / "results.csv")
    run(*arguments)
    before = (tmp_path / "results.csv").read_bytes()
    fake.seen.clear()
    assert run(*arguments, "--resume").returncode == 0
    assert not fake.seen
    assert (tmp_path / "results.csv").read_bytes() == before


def test_a_server_that_goes_away_ends_it_after_what_was_done(
    fake: FakeService, photos: Path
) -> None:
    fake.always = delay(0.3)
    process = start(photos, "--url", fake.url, "--format", "json", "--concurrency", "1")
    assert process.stdout is not None
    process.stdout.readline()
    fake.always = refuse(401, "unauthorized")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"classify: stopped after \d+: says unauthorized\n", err)


def test_a_reader_that_goes_away_is_no_error_of_ours(fake: FakeService, photos: Path) -> None:
    command = " ".join([*COMMAND, str(photos), "--url", fake.url, "| head -n 1"])
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment(), check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_stand_in_is_warned_of_in_one_line(fake: FakeService, photos: Path) -> None:
    fake.model_version = "stand-in-efficientnet-lite0"
    done = run(photos, "--url", fake.url)
    assert done.returncode == 0
    (warning,) = done.stderr.splitlines()
    assert "in place of DenseNet-121: stand-in-efficientnet-lite0" in warning


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_a_terminal_shows_colours_and_progress_and_a_pipe_none(
    fake: FakeService, photos: Path, output: str
) -> None:
    fake.always = delay(0.1)
    arguments = (photos, "--url", fake.url, "--format", output)
    painted = run_in_terminal(*arguments)
    assert re.search(rf"\d+/{COUNT}\D.*images/s.*\d:\d\d:\d\d", painted)
    assert "image-39" in painted
    done = run(*arguments)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout


def test_a_table_in_a_terminal_fits_its_window(fake: FakeService, photos: Path) -> None:
    painted = run_in_terminal(photos, "--url", fake.url, "--top-k", "2", columns=60)
    rows = [
        line for line in re.sub(r"\x1b\[[\d;?]*\w", "", painted).splitlines() if "image-" in line
    ]
    assert len(rows) == 2 * COUNT
    assert max(map(len, rows)) <= 60


def test_ten_thousand_photos_take_no_more_memory_than_a_hundred(
    fake: FakeService, tmp_path: Path
) -> None:
    original = tmp_path / "original"
    original.write_bytes(b"x" * 30_000)
    peaks_kib = []
    for count in (100, 10_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for i in range(count):
            os.link(original, folder / f"{i:05}.jpg")
        target = tmp_path / f"{count}.csv"
        process = start(folder, "--url", fake.url, "--format", "csv", "-o", target)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.communicate()
        assert process.returncode == 0
        assert len(target.read_text().splitlines()) == count + 1
        fake.seen.clear()
        peaks_kib.append(usage.ru_maxrss)
    assert peaks_kib[1] - peaks_kib[0] < 16 * 1024  # of 300 MB


def test_neither_torch_nor_ray_is_imported() -> None:
    heavy = {"torch", "ray", "deployments", "numpy", "PIL", "aiohttp"}
    code = f"import sys, densenet_client.cli; sys.exit(bool({heavy!r} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@pytest.fixture
def make_classify(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`make classify`, with a command that prints its arguments and ends with a status."""
    command = tmp_path / "venv" / "bin" / "classify"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\nprintf "<%s>" "$@"\nexit "$STATUS"\n')
    command.chmod(0o755)
    for name in ("venv/bin/python", "venv/.serve", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()

    def run_make(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        options = ["--no-print-directory", "VENV=venv", "--old-file=venv/.serve"]
        make = ["make", "--makefile", str(ROOT / "Makefile"), *options]
        return subprocess.run(
            [*make, "classify", *arguments],
            cwd=tmp_path,
            env=environment(STATUS=str(status), MAKEFLAGS=""),
            capture_output=True,
            text=True,
            check=False,
        )

    return run_make


@pytest.mark.parametrize(("status", "is_quiet"), [(0, True), (1, True), (2, False), (130, False)])
def test_make_ends_quietly_unless_the_command_could_not_start(
    make_classify: Callable[..., subprocess.CompletedProcess[str]], status: int, is_quiet: bool
) -> None:
    done = make_classify("PHOTOS=cat.jpg", status=status)
    assert done.stdout == "<cat.jpg>"
    assert (done.returncode == 0, done.stderr == "") == (is_quiet, is_quiet)


@pytest.mark.parametrize(
    ("photos", "passed"),
    [
        ("my cat.jpg", "<my cat.jpg>"),
        ("'my cat.jpg' other.jpg", "<my cat.jpg><other.jpg>"),
        ("cat.jpg other.jpg", "<cat.jpg><other.jpg>"),
    ],
)
def test_make_takes_a_name_with_spaces(
    make_classify: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    photos: str,
    passed: str,
) -> None:
    (tmp_path / "my cat.jpg").touch()
    assert make_classify(f"PHOTOS={photos}").stdout == passed


def test_make_tells_how_to_name_several_photos(
    make_classify: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = make_classify("PHOTOS=my", "cat.jpg")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Quote the photos: make classify PHOTOS='cat.jpg holiday'" in done.stderr
