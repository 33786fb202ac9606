"""Names for the array types that the statistics pass around."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float64s: TypeAlias = NDArray[np.float64]
Int64s: TypeAlias = NDArray[np.int64]
Int8s: TypeAlias = NDArray[np.int8]
Reals: TypeAlias = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
