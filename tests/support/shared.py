"""The development data beside the checkout: real RNAs and golden arrays, never committed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def requires_shared(*names: str) -> Callable[[Any], Any]:
    """Mark a test `shared_data` and skip it, with the missing file's name, where one is absent."""
    missing = [name for name in names if not (SHARED / name).exists()]
    skip = pytest.mark.skipif(
        bool(missing), reason=f"needs ../shared/{', ../shared/'.join(missing)}"
    )

    def decorate(test: Any) -> Any:
        return pytest.mark.shared_data(skip(test))

    return decorate
