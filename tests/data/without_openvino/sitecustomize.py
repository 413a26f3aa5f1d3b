"""OpenVINO counts as not installed."""

import sys

sys.modules["openvino"] = None  # type: ignore[assignment]
