"""Which trace a request belongs to."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from deployments.common import tracing

TRACE_ID_DIGITS = 32


@pytest.mark.parametrize(("sampler", "digits"), [(ALWAYS_ON, TRACE_ID_DIGITS), (ALWAYS_OFF, 0)])
def test_a_request_has_a_trace_id_if_it_is_sampled(
    sampler: Sampler, digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(sampler=sampler)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with provider.get_tracer("test").start_as_current_span("request") as span:
        found = tracing.current_trace_id()
        assert len(found) == digits
        assert found in trace.format_trace_id(span.get_span_context().trace_id)


def test_a_request_has_no_trace_id_without_tracing() -> None:
    assert tracing.current_trace_id() == ""
