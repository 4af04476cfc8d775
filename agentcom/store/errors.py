"""What can be wrong with a store, said in sentences.

Lives here: the store's exceptions; each carries its data and builds its sentence.
May import: nothing of ours.
"""


class StoreError(Exception):
    """Base of the store's own errors; none of them is a caller's fault."""


class KeyRefused(StoreError):
    """A logical key that does not fit its table."""

    def __init__(self, table: str, key: object, why: str) -> None:
        super().__init__(table, key, why)
        self.table, self.key, self.why = table, key, why

    def __str__(self) -> str:
        return f"table {self.table!r} refuses key {_short(self.key)}: {self.why}"


class CorruptRow(StoreError):
    """A row whose bytes are not what was written."""

    def __init__(self, table: str, key: object, why: str) -> None:
        super().__init__(table, key, why)
        self.table, self.key, self.why = table, key, why

    def __str__(self) -> str:
        return f"damaged row in table {self.table!r} at {_short(self.key)}: {self.why}"


class DataFolderLocked(StoreError):
    """Another hub lives in this data folder."""

    def __init__(self, folder: str, pid: int) -> None:
        super().__init__(folder, pid)
        self.folder, self.pid = folder, pid

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else "another process"
        return f"the data folder {self.folder} is in use by {who}; stop that hub first"


class NewerSchema(StoreError):
    """The data was written by a newer release."""

    def __init__(self, folder: str, found: int, known: int) -> None:
        super().__init__(folder, found, known)
        self.folder, self.found, self.known = folder, found, known

    def __str__(self) -> str:
        return (
            f"the data in {self.folder} has schema {self.found}, this release knows up to {self.known}; "
            "start the newer release again, or restore a snapshot that this one wrote"
        )


class CannotMigrate(StoreError):
    """An older release's store that cannot be changed to what this one writes."""

    def __init__(self, before: int, after: int, why: str) -> None:
        super().__init__(before, after, why)
        self.before, self.after, self.why = before, after, why

    def __str__(self) -> str:
        return (
            f"the store cannot be changed from schema {self.before} to {self.after}: {self.why}; nothing was changed. "
            "Restore a snapshot, or start the release that wrote it"
        )


class StoreUnreadable(StoreError):
    """The store's file cannot be opened: it is damaged, no store at all, or its disk fails."""

    def __init__(self, folder: str, why: str) -> None:
        super().__init__(folder, why)
        self.folder, self.why = folder, why

    def __str__(self) -> str:
        return f"the store in {self.folder} cannot be opened: {self.why}; nothing of it was changed"


class StoreClosed(StoreError):
    """A read while the store is not open."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"the store in {self.folder} is not open"


class StorageFull(StoreError):
    """There is no room for what should be written; nothing of it was."""


class SupersededStore(StoreError):
    """A later life of the store has begun; this engine may not write any more."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
