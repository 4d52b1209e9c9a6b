"""Tests that run the MMseqs2 binary."""

from typing import Any

import pytest

from openrinalmo.data_prep.mmseqs import find_mmseqs


def requires_mmseqs(test: Any) -> Any:
    """Mark a test `mmseqs` and skip it where there is no binary."""
    try:
        find_mmseqs()
    except FileNotFoundError as error:
        return pytest.mark.mmseqs(pytest.mark.skip(reason=str(error))(test))
    return pytest.mark.mmseqs(test)
