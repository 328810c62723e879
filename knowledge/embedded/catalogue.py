"""Which collections there are, in which folders, and their aliases: one small JSON file."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from uuid import uuid4

import orjson

from knowledge.embedded.refusals import Refusal


@dataclass
class Catalogue:
    """Names to folders. What a collection looks like stands in its folder, written by the engine.

    A change is on disk when a method returns, whole or not at all, whenever the process is killed.
    """

    path: Path
    folders: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Catalogue":
        """The catalogue at this path; an empty one where there is none yet."""
        return cls(path, **orjson.loads(path.read_bytes())) if path.exists() else cls(path)

    def resolve(self, name: str) -> str:
        """The collection that a name or an alias means, whether or not it is there."""
        return self.aliases.get(name, name)

    def folder_of(self, name: str) -> str:
        """The folder of a collection, asked for by name or alias.

        Raises  Refusal  404 there is none
        """
        folder = self.folders.get(self.resolve(name))
        if folder is None:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        return folder

    def new_folder(self, name: str) -> str:
        """A folder name for a collection about to be made; random, so that it was never used before."""
        if name in self.folders or name in self.aliases:
            raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
        return uuid4().hex

    def add(self, name: str, folder: str, metadata: dict) -> None:
        """Enter a collection whose folder is complete."""
        self._replace(
            folders=self.folders | {name: folder},
            metadata=self.metadata | ({name: metadata} if metadata else {}),
        )

    def remove(self, name: str) -> str | None:
        """Take a collection and its aliases out; its folder is to be deleted after. None: not there."""
        folder = self.folders.get(name)
        if folder is not None:
            self._replace(
                folders={key: value for key, value in self.folders.items() if key != name},
                metadata={key: value for key, value in self.metadata.items() if key != name},
                aliases={alias: target for alias, target in self.aliases.items() if target != name},
            )
        return folder

    def set_aliases(self, aliases: dict[str, str]) -> None:
        """Replace all aliases at once."""
        self._replace(aliases=aliases)

    def _replace(self, **changes: dict) -> None:
        body = asdict(self) | changes
        del body["path"]
        _write(self.path, orjson.dumps(body))
        for name, value in changes.items():
            setattr(self, name, value)


def _write(path: Path, content: bytes) -> None:
    """Swap the file's content in one step that survives a power cut."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
