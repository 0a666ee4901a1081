"""The changes to Ray's HAProxy configuration, as a function of its text.

Every change names the lines it expects of Ray, and fails if they are not there: so an upgrade of
Ray that writes another configuration is noticed.
"""

import json
import re
from pathlib import Path

from deployments.haproxy.sections import Section, find, parse

HEADER_WITHIN_S = 10
"""A request whose header is not complete by then is answered 408."""
SILENCE_S = 30
"""A client that neither sends nor takes anything for so long has gone."""
BUFFER_BYTES = 64 * 1024
"""A request that is in the buffer as a whole when HAProxy sends it goes to another Ingress if the
first one dies before it answers. Each request under way was seen to take 72 kB with this, 23 kB
with Ray's 16 KiB and 145 kB with 128 KiB. HAProxy is not told to wait until a body is there: a
stop would not know of the requests it holds back, and lose them."""
RETRY_ON = "conn-failure empty-response"
"""Both are safe: to classify an image twice has no effect but its cost."""
RETRY_AFTER_S = 1
FILES_APART = 100
"""Files that HAProxy opens beside those of its connections: listeners, checks, Lua, logs."""

REMOVED_HEADERS = (
    # An Ingress has nothing to upgrade to; a body after an offer would be taken for a request.
    "connection",
    "upgrade",
    "http2-settings",
    # Orders to Ray itself.
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
ERRORS = {
    # HAProxy's status: the code and the message of the body.
    400: ("malformed_request", "the request is incomplete or not valid HTTP"),
    408: ("deadline_exceeded", "the request did not arrive in time"),
    500: ("internal", "something went wrong on our side"),
    502: ("unavailable", "the ingress was lost while it worked on the request"),
    503: ("unavailable", "no ingress is available at the moment"),
    504: ("deadline_exceeded", "the request's time is up"),
}
NOT_DEPLOYED = ("unavailable", "nothing is deployed here at the moment")
NOT_FOUND = ("not_found", "there is nothing at this path")


def adapt(text: str, bind_host: str | None = None, max_files: int | None = None) -> str:
    """Returns the configuration that this service wants. Raises UnexpectedConfig.

    bind_host: where HAProxy is to listen, if not at the address that Ingress replicas use.
    max_files: how many files HAProxy may open; some containers allow 1024.
    """
    sections = parse(text)
    if bind_host is not None:
        for each in sections:
            if each.title in ("frontend http_frontend", "frontend grpc_frontend"):
                bind(each, bind_host)
    adapt_global(find(sections, "global"))
    if max_files is not None:
        bound_connections(find(sections, "global"), max_files)
    adapt_defaults(find(sections, "defaults"))
    adapt_http(find(sections, "frontend http_frontend"))
    adapt_nothing_found(find(sections, "backend default_backend"), sections)
    # Both listen on all interfaces; Ray asks HAProxy by its admin socket and exports metrics.
    for title in ("frontend prometheus", "listen stats"):
        sections.remove(find(sections, title))
    return "\n".join(line for each in sections for line in (each.title, *each.lines)) + "\n"


def bind(section: Section, host: str) -> None:
    """Listen on another address, at the same port."""
    lines = [line for line in section.lines if line.strip().startswith("bind ")]
    moved = [re.sub(r"bind \S+:(\d+)", rf"bind {host}:\1", line) for line in lines]
    section.replace(r" +bind \S+:\d+.*", *moved)


def adapt_global(section: Section) -> None:
    # Ray's default is a syslog server at a port where there is none: a datagram a request.
    section.replace(r" +log \S+ local0 info")
    section.replace(
        r" +stats socket \S+ mode 666 level admin expose-fd listeners",
        *(line.replace("mode 666", "mode 600") for line in section.lines if "stats socket" in line),
    )
    section.replace(r" +tune.bufsize \d+", f"    tune.bufsize {BUFFER_BYTES}")
    section.lines.append(f"    lua-load {Path(__file__).with_name('end_with_ray.lua')}")


def bound_connections(section: Section, max_files: int) -> None:
    """HAProxy does not start if its connections may need more files than it may open.

    It counts two for each connection, and two for each fourth one's pipe.
    """
    most = max(1, (max_files - FILES_APART) * 2 // 5)
    wanted = [int(line.split()[1]) for line in section.lines if line.startswith("    maxconn ")]
    section.replace(r" +maxconn \d+", f"    maxconn {min(most, *wanted)}")


def adapt_defaults(section: Section) -> None:
    section.expect_no(" +timeout http-request ")
    section.replace(
        r" +timeout client \d+s",
        f"    timeout client {SILENCE_S}s",
        f"    timeout http-request {HEADER_WITHIN_S}s",
    )
    # Whom the access log names; the Ingress sees HAProxy alone.
    section.expect_no(" +option forwardfor")
    section.lines.append("    option forwardfor")
    section.replace(" +retry-on conn-failure", f"    retry-on {RETRY_ON}")
    section.replace(" +errorfile 50[234] .*", *map(describe_error, ERRORS))


def adapt_http(section: Section) -> None:
    section.insert_after(
        " +bind .*",
        *(f"    http-request del-header {name}" for name in REMOVED_HEADERS),
        # The application's rule (`choose_request_id`), for what is answered without it.
        "    unique-id-format %[uuid]",
        "    http-request set-header x-request-id %[unique-id]"
        " unless { req.fhdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,128}$ }",
        "    http-request set-var(txn.request_id) req.fhdr(x-request-id)",
        "    http-after-response set-header x-request-id %[var(txn.request_id)]"
        " if { var(txn.request_id) -m found } !{ res.hdr(x-request-id) -m found }",
        "    http-after-response set-status 503 if { status 502 }",
        # An Ingress that answers before the body closes its connection. HAProxy does not close the
        # client's: a proxy that still owes the body sent the next client's request as its bytes.
        "    http-request set-var(txn.expects) bool(true) if { req.hdr(expect) -m found }",
        "    http-after-response set-header connection close if { var(txn.expects) -m found }",
    )


def adapt_nothing_found(section: Section, sections: list[Section]) -> None:
    frontend = find(sections, "frontend http_frontend")
    is_deployed = any(line.strip().startswith("use_backend ") for line in frontend.lines)
    status, error = (404, NOT_FOUND) if is_deployed else (503, NOT_DEPLOYED)
    section.replace(
        " +http-request return status 404 content-type text/plain lf-string .*",
        f"    http-request return status {status} {render(status, *error)}",
    )


def describe_error(status: int) -> str:
    return f"    http-error status {status} {render(status, *ERRORS[status])}"


def render(status: int, code: str, message: str) -> str:
    """An answer in the form of the application's own (`ingress.http.responses`)."""
    body = json.dumps({"error": {"code": code, "message": message}}).replace("'", r"\u0027")
    retry = f" hdr Retry-After {RETRY_AFTER_S}" if status in (502, 503) else ""
    return f"content-type application/json string '{body}' hdr X-Model-Version unknown{retry}"
