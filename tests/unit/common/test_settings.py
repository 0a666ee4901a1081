"""A live `user_config`, and what settings may not say together."""

import logging

import pytest
from pydantic import ValidationError

from deployments.common.settings import BatchingConfig, Settings, read_batching_config

CURRENT = BatchingConfig(max_batch_size=4, max_queue_wait_s=7)


def test_a_new_user_config_takes_the_place_of_the_current_one() -> None:
    expected = BatchingConfig(max_batch_size=16)
    assert read_batching_config({"max_batch_size": 16}, CURRENT) == expected


@pytest.mark.parametrize("user_config", [{}, None])
def test_a_user_config_without_keys_means_the_defaults(user_config: dict[str, object]) -> None:
    assert read_batching_config(user_config, CURRENT) == BatchingConfig()


@pytest.mark.parametrize(
    ("user_config", "named"),
    [
        ({"max_batchsize": 8}, ["max_batchsize"]),
        ({"max_batch_size": 0}, ["max_batch_size"]),
        ({"max_queue_wait_s": float("inf")}, ["max_queue_wait_s"]),
        ({"batch_wait_timeout_s": "soon", "x": 1}, ["batch_wait_timeout_s", "x"]),
    ],
)
def test_a_mistake_keeps_the_current_values_and_logs_one_line(
    user_config: dict[str, object], named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert read_batching_config(user_config, CURRENT) is CURRENT
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert f"The replica keeps {CURRENT}." in record.getMessage()
    assert all(f"{name}: " in record.getMessage() for name in named)


def test_the_batch_size_is_the_engine_s_until_one_is_set() -> None:
    assert BatchingConfig().batch_size(64) == 64
    assert BatchingConfig(max_batch_size=128).batch_size(64) == 128


@pytest.mark.parametrize(
    "origin", ["*", "https://example.org", "http://localhost:3000", "http://[::1]:3000"]
)
def test_an_origin_is_taken_as_browsers_send_it(origin: str) -> None:
    assert Settings(cors_origins=[origin]).cors_origins == [origin]


@pytest.mark.parametrize(
    "origin",
    ["", "example.org", "https://example.org/", "https://*.example.org", "null", "file://"],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(cors_origins=[origin])
