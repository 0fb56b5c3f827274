"""Results that are tables, for every library of data frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from recsys.errors import RecsysError

if TYPE_CHECKING:
    import pyarrow as pa


class Frame(ABC):
    """A result with rows and columns, which any reader of Arrow streams takes as it is."""

    @abstractmethod
    def to_arrow(self) -> pa.Table:
        """The result as an Arrow table."""

    def to_pandas(self) -> Any:
        """The result as a DataFrame. Raises RecsysError if pandas is not installed."""
        try:
            return self.to_arrow().to_pandas()
        except ModuleNotFoundError:
            raise RecsysError("to_pandas needs `pip install pandas`; to_arrow works without it") from None

    def to_polars(self) -> Any:
        """The result as a DataFrame of Polars. Raises RecsysError if Polars is not installed."""
        try:
            import polars
        except ModuleNotFoundError:
            raise RecsysError("to_polars needs `pip install polars`; to_arrow works without it") from None
        return polars.from_arrow(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow PyCapsule interface."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)
