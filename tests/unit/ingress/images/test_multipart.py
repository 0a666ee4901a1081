"""Reading the images of a request, without HTTP around it."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from starlette.datastructures import Headers

from deployments.common.errors import (
    ImageTooLarge,
    MalformedRequest,
    NoImage,
    RequestTooLarge,
    TooManyImages,
    UnsupportedBody,
    UnsupportedContentCoding,
    UnsupportedImage,
)
from deployments.common.settings import Limits
from deployments.ingress.content_coding import decode_body
from deployments.ingress.images.multipart import Upload, read_uploads

LIMITS = Limits(max_image_bytes=100, max_images=4, max_request_bytes=2000)
MULTIPART = "multipart/form-data; boundary=b"


def part(data: bytes = b"data", disposition: str = 'name="file"', headers: str = "") -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n{headers}\r\n"
    return b"--b\r\n" + head.encode() + data + b"\r\n"


def named(filename: str, data: bytes = b"data") -> bytes:
    return part(data, f'name="file"; filename="{filename}"')


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


def read(
    data: bytes | Iterable[bytes], content_type: str = MULTIPART, **headers: str
) -> list[Upload]:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in [data] if isinstance(data, bytes) else data:
            yield chunk

    sent = {"content-type": content_type} if content_type else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(read_uploads(Headers(sent), chunks(), LIMITS))


def names(*parts: bytes) -> list[str]:
    return [upload.name for upload in read(body(*parts))]


def test_files_under_any_field_name_are_read_in_order() -> None:
    other = part(b"two", 'name="anything"; filename="2.jpg"')
    assert read(body(named("1.jpg", b"one"), other)) == [
        Upload("1.jpg", b"one"),
        Upload("2.jpg", b"two"),
    ]


def test_a_body_in_single_bytes_reads_the_same() -> None:
    data = body(named("1.jpg", b"o\r\n--n\r\ne"), named("2.jpg", b"two"))
    assert read(bytes([byte]) for byte in data) == read(data)


def test_repeated_names_are_numbered() -> None:
    assert names(*[named("a")] * 3) == ["a", "a (2)", "a (3)"]


def test_a_number_skips_names_that_are_taken() -> None:
    assert names(named("a"), named("a"), named("a (2)"), named("a")) == [
        "a",
        "a (3)",
        "a (2)",
        "a (4)",
    ]


def test_names_are_kept_as_sent() -> None:
    sent = ["../../etc/passwd", "<b>.jpg", "katze äöü 猫.png", "a;b.jpg"]
    assert names(*(named(name) for name in sent)) == sent


def test_a_quote_in_a_name_is_unescaped() -> None:
    assert names(named(r"say \"hi\".jpg")) == ['say "hi".jpg']


def test_a_part_without_a_file_name_goes_by_its_field_name() -> None:
    image = part(b"x", 'name="photo"', "Content-Type: image/png\r\n")
    assert read(body(image)) == [Upload("photo", b"x")]


def test_other_fields_and_empty_file_inputs_are_ignored() -> None:
    empty = part(b"", 'name="file"; filename=""', "Content-Type: application/octet-stream\r\n")
    assert names(part(b"yes", 'name="agree"'), empty, named("a")) == ["a"]


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/x-odd", "application/octet-stream"])
def test_a_raw_body_is_one_image(content_type: str) -> None:
    assert read([b"ab", b"cd"], content_type) == [Upload("image", b"abcd")]


@pytest.mark.parametrize("content_type", [MULTIPART, "image/jpeg", "text/plain", ""])
def test_an_empty_body_is_no_image(content_type: str) -> None:
    with pytest.raises(NoImage):
        read(b"", content_type)


@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream", ""])
def test_an_empty_body_is_told_apart_from_an_empty_form(content_type: str) -> None:
    with pytest.raises(NoImage, match="has no body, or the file sent as one is empty"):
        read(b"", content_type)


def test_an_empty_file_with_a_name_is_told_as_one_and_costs_the_others_nothing() -> None:
    empty, other = read(body(named("empty.jpg", b""), named("a")))
    assert isinstance(empty.data, UnsupportedImage)
    assert empty.data.message == "the file is empty"
    assert other == Upload("a", b"data")


@pytest.mark.parametrize("parts", [[], [part(b"yes", 'name="agree"')]])
def test_a_form_without_files_is_no_image(parts: list[bytes]) -> None:
    with pytest.raises(NoImage):
        read(body(*parts))


def test_a_file_name_without_its_at_sign_is_told_what_to_send() -> None:
    with pytest.raises(NoImage, match=r"-F file=@photo\.jpg"):
        read(body(part(b"photo.jpg", 'name="file"')))


@pytest.mark.parametrize("sent", [b"file=photo.jpg", b"a line\nof notes.txt\n"])
def test_what_curl_sends_with_d_or_data_binary_is_told_both_ways(sent: bytes) -> None:
    ways = r"-F file=@photo\.jpg, or unchanged as the body with --data-binary, not -d"
    with pytest.raises(UnsupportedBody, match=ways):
        read(sent, "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("content_type", "hinted"),
    [("application/x-www-form-urlencoded", True), ("text/plain", False), ("image/jpeg", False)],
)
def test_only_an_image_that_came_as_a_form_of_text_may_have_been_changed_by_curl(
    content_type: str, hinted: bool
) -> None:
    (upload,) = read(b"\xff\xd8\xff and no newlines", content_type)
    assert ("curl -d" in upload.hint) == hinted


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_another_body_is_told_how_curl_sends_a_file(content_type: str) -> None:
    with pytest.raises(UnsupportedBody, match=r"-F file=@photo\.jpg"):
        read(b"a body of text", content_type)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/mixed", ""])
def test_another_body_is_unsupported(content_type: str) -> None:
    with pytest.raises(UnsupportedBody):
        read(b"data", content_type)


@pytest.mark.parametrize(
    "data",
    [
        b"no boundary at all",
        named("a"),
        body(named("a"))[:-6],
        b"--b\r\nno colon\r\n\r\n--b--\r\n",
        b"--b\r\n\r\ndata\r\n--b--\r\n",
        body(part(b"x", 'filename="a"')),
        b"--b\r\n" + b"X: y\r\n" * 200 + b"\r\nx\r\n--b--\r\n",
    ],
    ids=["text", "unended", "cut", "header", "headerless", "nameless", "many headers"],
)
def test_a_broken_form_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(data)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=" + "b" * 300]
)
def test_a_form_with_an_impossible_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(MalformedRequest):
        read(body(named("a")), content_type)


def test_an_image_over_its_limit_costs_the_others_nothing() -> None:
    large, small = read(body(named("large", b"x" * 101), named("small", b"x" * 100)))
    assert isinstance(large.data, ImageTooLarge)
    assert small.data == b"x" * 100


def test_a_raw_image_over_its_limit_is_an_entry() -> None:
    (upload,) = read([b"x" * 60, b"x" * 60], "image/jpeg")
    assert isinstance(upload.data, ImageTooLarge)


def test_too_many_images_are_refused_while_they_come() -> None:
    def endless() -> Iterable[bytes]:
        yield from [named("a")] * 5
        raise AssertionError("read on after the limit")

    with pytest.raises(TooManyImages):
        read(endless())


def test_too_many_parts_are_malformed_whatever_is_in_them() -> None:
    with pytest.raises(MalformedRequest, match="1000 parts at most"):
        read(body(*[part(b"", 'name="a"')] * 1001))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("name=file; filename*=utf-8''%E6%9D%B1.jpg", "東.jpg"),
        ("name=file; filename*=UTF-8'en'%E6%9D%B1.jpg; filename=\"plain.jpg\"", "東.jpg"),
        ("name=file; filename=\"=?utf-8?B?5p2x?=\"; filename*=utf-8''%E6%9D%B1.jpg", "東.jpg"),
        ("name=file; filename*=iso-8859-1''%E4.jpg", "ä.jpg"),
        ("name*=utf-8''x; filename=a.jpg", "a.jpg"),
        ("name=file; filename=plain.jpg; filename*=utf-8''%E6%9", "plain.jpg"),
        ("name=file; filename=plain.jpg; filename*=no-such-charset''x", "plain.jpg"),
        ("name=file; filename=plain.jpg; filename*=%E6%9D%B1.jpg", "plain.jpg"),
        ("name=file; filename=plain.jpg; filename*=utf-8''%FF", "plain.jpg"),
    ],
)
def test_extended_parameters_count_if_they_are_well_formed(disposition: str, name: str) -> None:
    assert names(part(b"x", disposition)) == [name]


def test_a_folded_header_is_one_line() -> None:
    assert names(part(b"x", 'name="file";\r\n filename="a.jpg"')) == ["a.jpg"]
    assert names(part(b"x", 'name="file";\r\n\t filename="a.jpg"')) == ["a.jpg"]


@pytest.mark.parametrize("blanks", [b" ", b"\t", b"  \t "])
def test_blanks_after_a_boundary_are_skipped(blanks: bytes) -> None:
    padded = body(named("a"), named("b")).replace(b"--b\r\n", b"--b" + blanks + b"\r\n")
    expected = [Upload("a", b"data"), Upload("b", b"data")]
    assert read(padded) == read(bytes([byte]) for byte in padded) == expected


@pytest.mark.parametrize("line", [b"--bb", b"--b x", b"--b-", b"--b\rx", b"--b \nx"])
def test_a_line_that_begins_like_the_boundary_is_data(line: bytes) -> None:
    data = body(named("a", b"one\r\n" + line + b"\r\ntwo"))
    expected = [Upload("a", b"one\r\n" + line + b"\r\ntwo")]
    assert read(data) == read(bytes([byte]) for byte in data) == expected


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("X-Gzip", gzip.compress), ("deflate", zlib.compress)],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_a_content_coding_is_undone(
    coding: str, compress: Callable[[bytes], bytes], step: int
) -> None:
    for data, content_type in ((body(named("image", b"abcd")), MULTIPART), (b"abcd", "image/png")):
        sent = compress(data)
        chunks = [sent[start : start + step] for start in range(0, len(sent), step)]
        assert read(chunks, content_type, content_encoding=coding) == [Upload("image", b"abcd")]


def test_gzip_members_in_a_row_are_one_body() -> None:
    sent = gzip.compress(b"ab", mtime=0) + gzip.compress(b"cd", mtime=0)
    assert read(sent, "image/png", content_encoding="gzip") == [Upload("image", b"abcd")]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, br"])
def test_another_content_coding_is_unsupported_and_named(coding: str) -> None:
    with pytest.raises(UnsupportedContentCoding, match="Content-Encoding") as raised:
        read(b"abcd", "image/png", content_encoding=coding)
    assert raised.value.headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    "sent", [b"abcd", gzip.compress(b"abcd", mtime=0)[:-3], gzip.compress(b"a", mtime=0) + b"b"]
)
def test_a_broken_content_coding_is_malformed(sent: bytes) -> None:
    with pytest.raises(MalformedRequest):
        read(sent, "image/png", content_encoding="gzip")


def test_an_encoded_body_is_limited_while_it_is_decoded() -> None:
    with pytest.raises(RequestTooLarge):
        read(gzip.compress(bytes(10**6), mtime=0), "image/png", content_encoding="gzip")


@pytest.mark.parametrize("size", [1 << 16, (1 << 16) + 1, 3 << 16])
def test_decoded_pieces_are_reserved_and_none_is_lost(size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield gzip.compress(bytes(size), mtime=0)

    async def decode() -> bytes:
        pieces = decode_body(chunks(), Headers({"content-encoding": "gzip"}), size, reserved.append)
        return b"".join([piece async for piece in pieces])

    reserved: list[int] = []
    assert asyncio.run(decode()) == bytes(size)
    assert sum(reserved) == size
    assert max(reserved) <= 1 << 16
