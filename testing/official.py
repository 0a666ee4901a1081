"""The application of `deployments.app`, with another file as the official one.

Its SHA-256 is the environment's, since the official file is not available to tests.
"""

import os
from dataclasses import replace

from ray.serve import Application

from deployments.app import build
from deployments.common.settings import Settings
from deployments.model.spec import SPEC

SHA256_VARIABLE = "DENSENET_TEST_OFFICIAL_SHA256"


def build_app(args: Settings) -> Application:
    return build(args, replace(SPEC.official, sha256_prefix=os.environ[SHA256_VARIABLE]))
