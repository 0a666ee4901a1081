"""The page in a real browser, Chromium, against the running service."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, FloatRect, Locator, Page, Route, expect

from densenet_client.result_formats import Csv
from deployments.common.labels import load_classes
from testing.service import ROOT, Service

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
HOSTILE_NAME = "<img src=x onerror=alert(1)>&lt;b&gt;.png"
_SET_HIDDEN = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
expect.set_options(timeout=20_000)


@pytest.fixture
def open_page(browser: Browser, service: Service) -> Iterator[Callable[..., Page]]:
    """Opens the page in a session of its own; in the end, nothing went wrong in any."""
    contexts, wrongs = [], []

    def open_page(prepare: Callable[[Page], None] = lambda _: None, **options: Any) -> Page:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrongs.append(str(error)))
        page.on("dialog", lambda dialog: wrongs.append(dialog.message))
        page.on("console", lambda message: wrongs.extend(_wrong(message.text)))
        page.on("request", lambda request: wrongs.extend(_foreign(request.url, service.url)))
        prepare(page)
        page.goto(service.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrongs


def _wrong(message: str) -> list[str]:
    """The browser itself notes each status from 400 up; those are of the tests' making."""
    return [] if message.startswith("Failed to load resource") else [message]


def _foreign(url: str, ours: str) -> list[str]:
    return [] if url.startswith((ours, "blob:")) else [f"a request to {url}"]


@pytest.fixture
def photos(pictures: list[Image.Image], tmp_path: Path) -> list[Path]:
    """Two photos and a broken one."""
    paths = [tmp_path / name for name in ("first.png", "second.png", "broken.jpg")]
    for path, picture in zip(paths, pictures[:2], strict=False):
        picture.save(path)
    paths[2].write_bytes(b"\xff\xd8\xff\xe0 broken")
    return paths


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders onto the page, as the system's file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})


def box_of(element: Locator) -> FloatRect:
    """Where it is in the window, and its size."""
    box = element.bounding_box()
    assert box is not None
    return box


def card(page: Page, name: str) -> Any:
    heading = page.get_by_role("heading", name=name, exact=True)
    return page.get_by_role("listitem").filter(has=heading)


def check_accessibility(page: Page) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm install")
    page.evaluate(AXE.read_text())
    violations = page.evaluate("async () => (await axe.run()).violations")
    found = [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]
    assert not found, json.dumps(found, indent=1)


def test_dropped_photos_get_their_five_best_classes_and_a_broken_one_its_error(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page()
    drop(page, *photos)
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    for name, expected in zip(("first.png", "second.png"), load_classes(), strict=False):
        predictions = card(page, name).locator(".predictions li")
        expect(predictions).to_have_count(5)
        expect(predictions.first).to_contain_text(expected.class_id)
        text = predictions.first.inner_text()
        assert expected.class_name.replace("_", " ").lower() in text.lower()
        assert re.search(r"\b\d\d\.\d %", text)
    error = card(page, "broken.jpg").locator(".error-text")
    expect(error).to_have_text("This photo is broken and cannot be read.")
    expect(page.get_by_role("status").filter(has_text="2 of 3")).to_have_count(1)


def test_a_thumbnail_is_there_before_the_answer(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    held: list[Route] = []
    page = open_page(lambda page: page.route("**/run_inference*", lambda r: held.append(r)))
    drop(page, photos[0])
    image = card(page, "first.png").locator("img")
    expect(image).to_have_js_property("naturalWidth", 320)
    expect(card(page, "first.png")).to_contain_text("Classifying")
    held[0].continue_()
    expect(card(page, "first.png").locator(".predictions li")).to_have_count(5)


def test_the_bars_are_as_long_as_their_probabilities(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page()
    drop(page, photos[0])
    first = card(page, "first.png").locator(".predictions li").first
    share = float(first.locator(".probability").inner_text().split()[0]) / 100
    widths = first.locator(".bar").evaluate(
        "bar => [parseFloat(getComputedStyle(bar, '::before').width), bar.clientWidth]"
    )
    assert widths[0] / widths[1] == pytest.approx(share, abs=0.01)


def test_what_failed_is_one_click_away(
    open_page: Callable[..., Page], pictures: list[Image.Image], tmp_path: Path
) -> None:
    for index, picture in enumerate(pictures[:20]):
        picture.save(tmp_path / f"{index:02}.png")
    for name in ("10.png", "19.png"):
        (tmp_path / name).write_bytes(b"no photo")
    page = open_page()
    drop(page, *sorted(tmp_path.iterdir()))
    expect(page.locator("#progress-text")).to_have_text("18 of 20 classified, 2 failed")
    for name in ("10.png", "19.png", "10.png"):
        page.get_by_role("button", name="Show failed photos").click()
        expect(card(page, name)).to_be_focused()
        expect(card(page, name).locator(".error-text")).to_be_in_viewport()


def test_a_dropped_folder_gives_the_photos_within(
    open_page: Callable[..., Page], pictures: list[Image.Image], tmp_path: Path
) -> None:
    (tmp_path / "album" / "deep").mkdir(parents=True)
    for index, picture in enumerate(pictures[:20]):
        folder = tmp_path / "album" / ("deep" if index % 2 else "")
        picture.save(folder / f"{index}.png")
    (tmp_path / "album" / "notes.txt").write_text("no photo")
    page = open_page()
    drop(page, tmp_path / "album")
    expect(page.locator("#progress-text")).to_have_text("20 of 20 classified")
    names = [f"{index}.png" for index in [*range(0, 20, 2), *range(1, 20, 2)]]
    expect(page.locator(".card .name")).to_have_text(names)
    expect(page.locator("#count")).to_have_text("20")
    expect(page.locator("#rate")).to_have_text(re.compile(r"^\d+\.\d$"))
    for id_ in ("#p50", "#p95", "#stages [data-stage=infer] dd"):
        expect(page.locator(id_)).to_have_text(re.compile(r"^[\d.]+ ms$"))


def test_of_a_dropped_folder_hidden_files_are_left_out(
    open_page: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    album = tmp_path / "album"
    for name in ("a.png", "b.jfif", "c.JPE", ".thumbs/x.png", "__MACOSX/y.png", "sub/@eaDir/z.png"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos[0], album / name)
    (album / "._a.png").write_bytes(b"\0\5\26\7 no photo")
    page = open_page()
    drop(page, album)
    expect(page.locator("#progress-text")).to_have_text("3 of 3 classified")
    expect(page.locator(".card .name")).to_have_text(["a.png", "b.jfif", "c.JPE"])


def test_a_hidden_file_that_is_dropped_itself_is_taken(
    open_page: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    shutil.copy(photos[0], tmp_path / ".hidden.png")
    page = open_page()
    drop(page, tmp_path / ".hidden.png")
    expect(card(page, ".hidden.png").locator(".predictions li")).to_have_count(5)


def test_heic_and_avif_are_explained_in_a_folder_and_alone(
    open_page: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    shutil.copy(photos[0], tmp_path / "album" / "a.png")
    for name in ("b.heic", "c.HEIC", "d.avif"):
        (tmp_path / "album" / name).write_bytes(b"\0\0\0 ftyp")
    page = open_page()
    drop(page, tmp_path / "album")
    expect(page.locator("#progress-text")).to_have_text("1 of 1 classified")
    left_out = page.get_by_role("status").filter(has_text="Left out: 2 HEIC, 1 AVIF.")
    expect(left_out).to_contain_text("save them as JPEG")
    drop(page, tmp_path / "album" / "b.heic", tmp_path / "album" / "d.avif")
    expect(card(page, "b.heic").locator(".error-text")).to_contain_text("cannot read HEIC")
    expect(card(page, "d.avif").locator(".error-text")).to_contain_text("cannot read AVIF")
    page.get_by_role("button", name="Clear").click()
    expect(left_out).to_have_count(0)


def test_a_file_that_is_gone_is_not_called_a_service_that_is_gone(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page()
    page.route("**/run_inference*", lambda route: route.abort())
    page.get_by_label("Choose photos").set_input_files(photos[0])
    photos[0].unlink()
    error = card(page, "first.png").locator(".error-text")
    expect(error).to_have_text("The browser cannot read this file. Was it moved or changed?")


def test_tall_and_wide_photos_leave_their_answers_in_sight(
    open_page: Callable[..., Page], pictures: list[Image.Image], tmp_path: Path
) -> None:
    sizes = {"a tall.png": (300, 1400), "b wide.png": (1800, 240), "c.png": (640, 480)}
    for name, size in sizes.items():
        pictures[0].resize(size).save(tmp_path / name)
    (tmp_path / "d broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    page = open_page(viewport={"width": 1280, "height": 700})
    drop(page, *sorted(tmp_path.glob("*.*")))
    expect(page.locator("#progress-text")).to_have_text("3 of 4 classified, 1 failed")
    previews = page.locator(".thumbnail:not(.no-preview) img")
    sizes_shown = previews.evaluate_all("all => all.map(each => each.clientHeight)")
    assert len(sizes_shown) == 3
    assert len(set(sizes_shown)) == 1
    for name in sizes:
        best = card(page, name).locator(".class-name").first.bounding_box()
        assert best["y"] + best["height"] < 700
    boxes = page.locator(".card").evaluate_all("all => all.map(each => each.clientHeight)")
    assert max(boxes) < 240


def test_results_can_be_saved_as_the_csv_of_the_command(
    open_page: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / 'a "quoted", näme.png'
    shutil.copy(photos[1], odd)
    page = open_page()
    drop(page, photos[0], odd, photos[2])
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "classes.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert text.startswith(Csv(5).header())
    first, second, broken = csv.DictReader(io.StringIO(text))
    assert [first["name"], second["name"], broken["name"]] == ["first.png", odd.name, "broken.jpg"]
    assert [each["class_id"] for each in (first, second)] == [
        each.class_id for each in load_classes()[:2]
    ]
    assert 0.1 < float(first["probability"]) <= 1
    assert first["class_id_5"].startswith("n")
    assert (broken["error"], broken["class_id"]) == ("undecodable_image", "")
    assert broken["message"] == card(page, "broken.jpg").locator(".error-text").inner_text()


def test_an_empty_file_is_told_alike_on_its_card_and_in_the_csv(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    page = open_page()
    drop(page, tmp_path / "empty.jpg")
    expect(card(page, "empty.jpg").locator(".error-text")).to_have_text("This file is empty.")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    row = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()[1]
    assert row.startswith("empty.jpg,no_image,This file is empty.,")


def test_a_photo_can_be_pasted(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(300, 300);
            canvas.getContext("2d").fillRect(0, 0, 150, 300);
            const data = new DataTransfer();
            data.items.add(new File([await canvas.convertToBlob()], "pasted.png"));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
        }"""
    )
    expect(card(page, "pasted.png").locator(".predictions li")).to_have_count(5)


def test_a_hostile_file_name_is_text(
    open_page: Callable[..., Page], pictures: list[Image.Image], tmp_path: Path
) -> None:
    good, bad = tmp_path / HOSTILE_NAME, tmp_path / f"bad {HOSTILE_NAME}"
    pictures[0].save(good)
    bad.write_bytes(b"no picture")
    page = open_page()
    drop(page, good, bad)
    expect(page.locator("#progress-text")).to_have_text("1 of 2 classified, 1 failed")
    expect(page.locator(".card .name")).to_have_text([HOSTILE_NAME, f"bad {HOSTILE_NAME}"])
    expect(page.locator(".name *, .error-text *")).to_have_count(0)


def test_a_hostile_message_is_text(open_page: Callable[..., Page], photos: list[Path]) -> None:
    body = {"error": {"code": "odd", "message": HOSTILE_NAME}}
    page = open_page(
        lambda page: page.route("**/run_inference*", lambda r: r.fulfill(status=400, json=body))
    )
    drop(page, photos[0])
    expect(card(page, "first.png").locator(".error-text")).to_have_text(HOSTILE_NAME)
    expect(page.locator(".error-text *")).to_have_count(0)


def test_it_works_by_keyboard_alone(open_page: Callable[..., Page], photos: list[Path]) -> None:
    # The browser is told to hand its file dialog to us before there is anything to press.
    page = open_page(lambda page: page.on("filechooser", lambda _: None))
    expect(page.locator("#state")).to_have_text("Ready")
    choose = page.get_by_label("Choose photos")
    press_until_focused(page, choose)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(photos)
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    press_until_focused(page, page.get_by_role("button", name="Clear"))
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(0)
    expect(choose).to_be_focused()


def press_until_focused(page: Page, target: Any) -> None:
    for _ in range(10):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    pytest.fail("ten presses of Tab do not lead there")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_light_and_dark(
    open_page: Callable[..., Page], photos: list[Path], scheme: str
) -> None:
    page = open_page(prepare=make_stand_in, color_scheme=scheme)
    expect(page.locator("#state")).to_have_text("Ready")
    check_accessibility(page)
    drop(page, *photos)
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    check_accessibility(page)
    shade = page.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.slice(4))")
    assert (shade < 64) == (scheme == "dark")


def test_it_fits_a_phone(open_page: Callable[..., Page], photos: list[Path]) -> None:
    page = open_page(**PHONE)
    expect(page.get_by_text("Take a photo")).to_be_visible()
    page.get_by_label("Choose photos").set_input_files(photos)
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = card(page, "first.png").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    buttons = page.locator(".progress button:visible").all()
    assert len({box_of(button)["y"] for button in buttons}) == 1


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_a_phone_shows_the_results_when_photos_were_chosen(
    open_page: Callable[..., Page], photos: list[Path], motion: str
) -> None:
    page = open_page(prepare=make_stand_in, reduced_motion=motion, **PHONE)
    expect(page.locator("#stand-in")).to_be_visible()
    assert box_of(page.locator("#stand-in"))["height"] < 110
    page.get_by_label("Choose photos").set_input_files(photos)
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    page.wait_for_function("document.querySelector('.card').getBoundingClientRect().y < 150")
    page.get_by_text("Why?").scroll_into_view_if_needed()
    page.get_by_label("Choose photos").set_input_files(photos[0])
    expect(page.locator("#progress-text")).to_have_text("3 of 4 classified, 1 failed")
    assert box_of(page.locator("#stand-in"))["y"] >= 0


def make_stand_in(page: Page) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(
            response=response,
            headers=response.headers | {"x-model-version": "stand-in-efficientnet-lite0"},
        )

    page.route("**/readyz", answer)
    page.route("**/run_inference*", answer)


def test_a_stand_in_raises_a_banner_that_names_it(open_page: Callable[..., Page]) -> None:
    page = open_page(prepare=make_stand_in)
    expect(page.get_by_role("alert").filter(has_text="EfficientNet-Lite0")).to_be_visible()
    expect(page.locator("#model-version")).to_have_text("stand-in-efficientnet-lite0")


def test_the_banner_of_a_stand_in_can_be_hidden_for_the_tab(open_page: Callable[..., Page]) -> None:
    page = open_page(prepare=make_stand_in)
    page.get_by_role("button", name="Hide").click()
    expect(page.locator("#stand-in")).to_be_hidden()
    page.reload()
    expect(page.locator("#model-version")).to_have_text("stand-in-efficientnet-lite0")
    expect(page.locator("#stand-in")).to_be_hidden()


def test_weights_of_the_model_itself_raise_no_banner(
    open_page: Callable[..., Page], service: Service
) -> None:
    page = open_page()
    version = requests.get(f"{service.url}/readyz", timeout=10).headers["X-Model-Version"]
    expect(page.locator("#model-version")).to_have_text(version)
    expect(page.locator("#stand-in")).to_be_hidden()


def test_the_state_follows_the_service(open_page: Callable[..., Page]) -> None:
    page = open_page(lambda page: page.route("**/readyz", lambda route: route.abort()))
    expect(page.locator("#state")).to_have_text("Not reachable")
    page.unroute("**/readyz")
    expect(page.locator("#state")).to_have_text("Ready")


def test_the_service_is_asked_for_its_state_only_while_the_page_is_looked_at(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(lambda page: page.clock.install())
    expect(page.locator("#state")).to_have_text("Ready")
    page.evaluate(_SET_HIDDEN, True)
    asked: list[Route] = []

    def refuse(route: Route) -> None:
        asked.append(route)
        route.abort()

    page.route("**/readyz", refuse)
    page.clock.run_for(60_000)
    page.wait_for_load_state("networkidle")
    assert not asked
    page.evaluate(_SET_HIDDEN, False)
    expect(page.locator("#state")).to_have_text("Not reachable")


def test_a_page_that_is_looked_at_asks_every_five_seconds(open_page: Callable[..., Page]) -> None:
    page = open_page(lambda page: page.clock.install())
    expect(page.locator("#state")).to_have_text("Ready")
    page.route("**/readyz", lambda route: route.abort())
    page.clock.run_for(5_100)
    expect(page.locator("#state")).to_have_text("Not reachable")


def guard(page: Page) -> None:
    """Wants the key `right`, as a service with access keys does."""

    def answer(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            body = {"error": {"code": "unauthorized", "message": "a key is wanted"}}
            route.fulfill(status=401, json=body)

    page.route("**/run_inference*", answer)
    page.route("**/v2", answer)


def test_a_key_is_asked_for_at_once_and_kept_for_the_session_only(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page(prepare=guard)
    key = page.get_by_label("This service wants an access key")
    expect(key).to_be_focused()
    page.keyboard.type("wrong\n")
    expect(page.get_by_role("alert").filter(has_text="not accepted")).to_be_visible()
    drop(page, *photos)
    expect(page.locator("#progress-text")).to_have_text("0 of 3 done")
    key.fill("right")
    page.keyboard.press("Enter")
    expect(page.locator("#progress-text")).to_have_text("2 of 3 classified, 1 failed")
    expect(page.locator("#key-form")).to_be_hidden()
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]

    page.reload()
    drop(page, photos[0])
    expect(page.locator("#progress-text")).to_have_text("1 of 1 classified")
    expect(page.locator("#key-form")).to_be_hidden()


def test_a_service_without_keys_asks_for_none(open_page: Callable[..., Page]) -> None:
    page = open_page()
    with page.expect_response("**/v2"):
        page.reload()
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#key-form")).to_be_hidden()


def test_a_key_that_is_wanted_later_is_asked_for_by_the_next_photo(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page()
    expect(page.locator("#state")).to_have_text("Ready")
    guard(page)
    drop(page, photos[0])
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type("right\n")
    expect(page.locator("#progress-text")).to_have_text("1 of 1 classified")


def test_a_service_that_is_gone_is_told_on_the_card(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page(lambda page: page.route("**/run_inference*", lambda route: route.abort()))
    drop(page, photos[0])
    expect(card(page, "first.png")).to_contain_text("Not reachable; trying again in")
    page.unroute("**/run_inference*")
    expect(card(page, "first.png").locator(".predictions li")).to_have_count(5)


def test_a_phone_and_the_key_field_are_accessible(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page(guard, **PHONE)
    page.get_by_label("Choose photos").set_input_files(photos)
    expect(page.locator("#key")).to_be_focused()
    check_accessibility(page)


def test_an_overloaded_service_is_asked_again(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    answers = []

    def answer(route: Route) -> None:
        answers.append(route)
        if len(answers) > 1:
            route.continue_()
        else:
            body = {"error": {"code": "overloaded", "message": "too much"}}
            route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    page = open_page(lambda page: page.route("**/run_inference*", answer))
    drop(page, photos[0])
    expect(card(page, "first.png")).to_contain_text("Busy; trying again in")
    expect(card(page, "first.png").locator(".predictions li")).to_have_count(5)
    assert len(answers) == 2


def test_a_photo_that_was_given_up_on_can_be_tried_again(
    open_page: Callable[..., Page], photos: list[Path]
) -> None:
    page = open_page(lambda page: page.clock.install())
    page.route("**/run_inference*", lambda route: route.abort())
    drop(page, photos[0])
    again = page.get_by_role("button", name="Try again: first.png")
    for _ in range(20):
        page.clock.run_for(20_000)
        page.wait_for_load_state("networkidle")
        if again.is_visible():
            break
    expect(card(page, "first.png")).to_contain_text("The service cannot be reached.")
    page.unroute("**/run_inference*")
    again.click()
    expect(page.locator("#progress-text")).to_have_text("1 of 1 classified")


def test_the_page_and_all_it_loads_hold_the_browser_to_this_host(service: Service) -> None:
    page = requests.get(service.url, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    for path in ["/", *(f"/{path}" for path in re.findall(r'"(static/[^"]+)"', page.text))]:
        headers = requests.get(service.url + path, timeout=10).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    docs = requests.get(f"{service.url}/docs", timeout=10)
    assert docs.ok
    assert '<a href=".">' in docs.text


@pytest.mark.parametrize("path", ["/static/", "/static/no.js", "/static/%2e%2e/page.py"])
def test_only_the_files_of_the_page_are_served(service: Service, path: str) -> None:
    response = requests.get(service.url + path, timeout=10)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
