"""OpenVINO, imported so that it reports nothing to its makers."""

import sys

# It reports its import and its conversions if this module is found.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

__all__ = ["openvino"]
