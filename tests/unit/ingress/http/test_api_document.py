"""The OpenAPI document: what it shows is what the service says."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from PIL import Image
from starlette.routing import Route

from deployments.common import errors
from deployments.common.settings import Limits
from deployments.ingress.http.api_document import describe_api
from deployments.ingress.images.pipeline import Pipeline
from deployments.ingress.v2.model import InferenceModel
from deployments.ingress.v2.rest import v2_routes
from testing.fake_classifier import FakeClassifier

DOCUMENTS = [describe_api(wants_key=False), describe_api(wants_key=True)]
STATUS_OF_CODE = {
    each.code: each.status
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.ServiceError) and hasattr(each, "code")
}


def list_operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def list_responses(document: dict[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """By path and status, what a response has as JSON."""
    for path, operation in list_operations(document):
        for status, response in operation["responses"].items():
            yield path, int(status), response["content"]["application/json"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_example_has_the_status_and_the_schema_that_it_stands_under(
    document: dict[str, Any],
) -> None:
    for path, status, content in list_responses(document):
        schema = {**content["schema"], "components": document["components"]}
        jsonschema.validate(content["example"], schema)
        if status >= 400 and not path.startswith("/v2"):
            assert STATUS_OF_CODE[content["example"]["error"]["code"]] == status, path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_operation_is_in_a_section_that_is_described(document: dict[str, Any]) -> None:
    sections = [tag["name"] for tag in document["tags"]]
    for path, operation in list_operations(document):
        (section,) = operation["tags"]
        assert section in sections, path
    assert next(iter(document["paths"])) == "/predict"


def test_the_routes_of_the_open_inference_protocol_are_listed() -> None:
    routes = v2_routes(InferenceModel(Pipeline(FakeClassifier(), Limits())))
    described = [path for path in DOCUMENTS[0]["paths"] if path.startswith("/v2")]
    for path in described:
        assert any(_matches(route, path) for route in routes), path
    assert len(described) == 7


def _matches(route: Route, path: str) -> bool:
    return route.path_regex.fullmatch(path) is not None


def test_the_stand_in_and_the_number_of_images_are_described() -> None:
    description = DOCUMENTS[0]["info"]["description"]
    assert "stand-in" in description
    assert "X-Model-Version" in description
    predict = DOCUMENTS[0]["paths"]["/predict"]["post"]
    assert f"{Limits().max_images} by default" in predict["description"]


def test_the_picture_of_the_example_is_one() -> None:
    infer = DOCUMENTS[0]["paths"]["/v2/models/densenet121/infer"]["post"]
    example = infer["requestBody"]["content"]["application/json"]["example"]
    (data,) = example["inputs"][0]["data"]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (1, 1)
    json.dumps(example)


def test_what_needs_a_key_says_so() -> None:
    with_key = {path for path, each in list_operations(DOCUMENTS[1]) if "security" in each}
    unlocked = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
    assert with_key == DOCUMENTS[1]["paths"].keys() - unlocked
    assert not any("security" in each for _, each in list_operations(DOCUMENTS[0]))
