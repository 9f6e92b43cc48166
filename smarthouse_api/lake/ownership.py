"""Ownership: each table of the lake bears the id of its installation, so that no other one's table is read in its place."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from deltalake import DeltaTable

from backends.ports import StateStore, StoreUnfit
from smarthouse_api.coordination.store_marks import StateMarks

PROPERTY: Final = "smarthouse.installation"


class Ownership:
    """Marks tables as those of the installation whose state store it is, and refuses tables of another one."""

    def __init__(self, state: StateStore) -> None:
        self._marks = StateMarks(state)
        self._id: str | None = None

    def properties(self) -> dict[str, str]:
        """Return the table property that says whose a table is; none before the state store bears an id."""
        self._id = self._id or self._marks.id()
        return {} if self._id is None else {PROPERTY: self._id}

    def is_marked(self, table: DeltaTable) -> bool:
        """Tell whether a table says whose it is. Earlier versions wrote none that did."""
        return PROPERTY in table.metadata().configuration

    def require(self, name: str, table: DeltaTable) -> None:
        """Raise `StoreUnfit` if a table is another installation's. name: the table's."""
        borne, own = table.metadata().configuration.get(PROPERTY), self.properties()
        if borne is not None and own and borne != own[PROPERTY]:
            raise StoreUnfit(
                f"the table {name} of the lake is of the installation {borne}, and the stores of the installation"
                f" {own[PROPERTY]}; put back the table that belongs to them, or restore a backup"
            )


def require_known(name: str, table: DeltaTable, schema: pa.Schema) -> None:
    """Raise `StoreUnfit` if a newer version made a table: it has columns that are not in the present `schema`."""
    if unknown := sorted({field.name for field in table.schema().fields} - set(schema.names)):
        raise StoreUnfit(
            f"the table {name} of the lake has columns that this version does not know: {', '.join(unknown)};"
            " start the version that wrote it, or a newer one"
        )
