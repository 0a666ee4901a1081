"""Spans beside those of Ray Serve: none, until `tracing_config` switches them on.

Ray sets the provider of tracers and the context of each request.
"""

import time
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_tracer = trace.get_tracer("densenet-serve")


def export_otlp() -> list[SpanProcessor]:
    """For `exporter_import_path`: OTLP over HTTP, to where the OTEL_EXPORTER_OTLP_... say."""
    # Not for every ingress to carry: few switch this on.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return [BatchSpanProcessor(OTLPSpanExporter())]


def is_enabled() -> bool:
    """Whether Ray has set a provider of tracers; without one a span costs and tells nothing."""
    return isinstance(trace.get_tracer_provider(), TracerProvider)


def current_trace_id() -> str:
    """32 hexadecimal digits, or nothing if the request is not sampled."""
    if not is_enabled():
        return ""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""


def span(name: str, **attributes: int) -> AbstractContextManager[object]:
    """What is inside, as a part of the request's trace."""
    if not is_enabled():
        return nullcontext()
    return _tracer.start_as_current_span(name, attributes=attributes)


def add_span(name: str, start: float, end: float, **attributes: int) -> None:
    """What is over already, from when to when on the clock of `time.monotonic`."""
    if not is_enabled():
        return
    since_epoch_ns = time.time_ns() - time.monotonic_ns()
    start_ns, end_ns = (round(1e9 * at) + since_epoch_ns for at in (start, end))
    _tracer.start_span(name, attributes=attributes, start_time=start_ns).end(end_ns)
