"""Results that are tables, for every library of data frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from recsys.errors import RecsysError

if TYPE_CHECKING:
    import pyarrow as pa


class Frame(ABC):
    """A result with rows and columns. Polars and DuckDB read it as it is: `polars.DataFrame(result)`."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """The result as an Arrow table."""

    def to_pandas(self) -> Any:
        """The result as a DataFrame. Raises RecsysError if pandas is not installed."""
        try:
            return self.to_arrow().to_pandas()
        except ModuleNotFoundError:
            raise RecsysError("to_pandas needs `pip install pandas`; to_arrow works without it") from None

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow PyCapsule interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)
