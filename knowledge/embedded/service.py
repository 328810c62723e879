"""What the service can do: one method per endpoint, from a request's JSON to the answer's."""

from itertools import count
from pathlib import Path

import qdrant_edge as edge

from knowledge.embedded import batches, changes, layout, queries
from knowledge.embedded.catalogue import Catalogue
from knowledge.embedded.refusals import Refusal, need, only
from knowledge.embedded.shards import Shard, Shards
from knowledge.embedded.vectors import record_as_json, scored_as_json, to_ids


class Service:
    """The collections of one folder. Not for threads: every call has the engine for itself."""

    def __init__(self, folder: Path):
        self.catalogue = Catalogue.load(folder / "catalogue.json")
        self.shards = Shards(folder / "shards")
        self.shards.remove_unknown(set(self.catalogue.folders.values()))
        self._operations = count(1)

    def _shard(self, name: str) -> Shard:
        return self.shards.use(self.catalogue.folder_of(name))

    def _done(self) -> dict:
        return {"operation_id": next(self._operations), "status": "completed"}

    # collections

    def collections(self, body) -> dict:
        return {"collections": [{"name": name} for name in self.catalogue.folders]}

    def create_collection(self, name: str, body) -> bool:
        dense, sparse, metadata = layout.to_layout(body)
        folder = self.catalogue.new_folder(name)
        self.shards.create(folder, dense, sparse)
        self.catalogue.add(name, folder, metadata)
        return True

    def drop_collection(self, name: str, body) -> bool:
        folder = self.catalogue.remove(name)
        if folder is not None:
            self.shards.drop(folder)
        return folder is not None

    def collection(self, name: str, body) -> dict:
        metadata = self.catalogue.metadata.get(self.catalogue.resolve(name), {})
        return layout.describe(self._shard(name), metadata)

    def exists(self, name: str, body) -> dict:
        return {"exists": self.catalogue.resolve(name) in self.catalogue.folders}

    # aliases

    def aliases(self, body) -> dict:
        return {"aliases": [_alias(*pair) for pair in self.catalogue.aliases.items()]}

    def collection_aliases(self, name: str, body) -> dict:
        self.catalogue.folder_of(name)
        pairs = self.catalogue.aliases.items()
        return {"aliases": [_alias(alias, target) for alias, target in pairs if target == name]}

    def change_aliases(self, body) -> bool:
        aliases = dict(self.catalogue.aliases)
        for action in need(only(body, "actions"), "actions"):
            self._apply(action, aliases)
        self.catalogue.set_aliases(aliases)
        return True

    def _apply(self, action, aliases: dict[str, str]) -> None:
        given = only(action, "create_alias", "delete_alias", "rename_alias")
        if len(given) != 1:
            raise Refusal(400, "an action either creates, deletes or renames an alias")
        if "create_alias" in given:
            wanted = only(given["create_alias"], "collection_name", "alias_name")
            target, alias = need(wanted, "collection_name"), need(wanted, "alias_name")
            if target not in self.catalogue.folders:
                raise Refusal(404, f"Not found: Collection `{target}` doesn't exist!")
            if alias in self.catalogue.folders:
                raise Refusal(409, f"Wrong input: Collection `{alias}` already exists!")
            aliases[alias] = target
        elif "delete_alias" in given:
            aliases.pop(need(only(given["delete_alias"], "alias_name"), "alias_name"), None)
        else:
            names = only(given["rename_alias"], "old_alias_name", "new_alias_name")
            old, new = need(names, "old_alias_name"), need(names, "new_alias_name")
            if old not in aliases:
                raise Refusal(404, f"Not found: Alias {old} does not exists!")
            aliases[new] = aliases.pop(old)

    # vectors and indexes

    def add_vector(self, name: str, vector: str, body) -> dict:
        shard = self._shard(name)
        dense, sparse = layout.new_vector(body)
        there = shard.dense.get(vector) or shard.sparse.get(vector)
        if there is None:
            shard.update(layout.add_vector(vector, dense, sparse))
            shard.read_vectors()
        elif {key: there.get(key) for key in ("size", "distance") if dense} != (dense or {}):
            raise Refusal(400, f"Wrong input: vector {vector} exists and is different")
        return self._done()

    def add_index(self, name: str, body) -> dict:
        self._shard(name).update(layout.to_index(body))
        return self._done()

    def drop_index(self, name: str, field: str, body) -> dict:
        self._shard(name).update(edge.UpdateOperation.delete_field_index(field))
        return self._done()

    # points

    def change(self, convert, name: str, body) -> dict:
        """Apply the change that `convert` (of `changes`) makes of the body."""
        shard = self._shard(name)
        shard.update(convert(body, shard))
        return self._done()

    def change_many(self, name: str, body) -> list[dict]:
        shard = self._shard(name)
        done = []
        for operation in changes.to_batch(body, shard):
            shard.update(operation)
            done.append(self._done())
        return done

    def retrieve(self, name: str, body) -> list[dict]:
        given = only(body, "ids", "with_payload", "with_vector")
        records = self._shard(name).engine.retrieve(
            to_ids(need(given, "ids")),
            queries.with_payload(given, default=True),
            queries.with_vector(given, default=False),
        )
        return [record_as_json(record) for record in records]

    def scroll(self, name: str, body) -> dict:
        records, following = self._shard(name).engine.scroll(queries.to_scroll(body))
        return {"points": [record_as_json(record) for record in records], "next_page_offset": following}

    def count(self, name: str, body) -> dict:
        return {"count": self._shard(name).engine.count(queries.to_count(body))}

    def facet(self, name: str, body) -> dict:
        hits = self._shard(name).engine.facet(queries.to_facet(body)).hits
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}

    def query(self, name: str, body) -> dict:
        points = self._shard(name).engine.query(queries.to_query(body))
        return {"points": [scored_as_json(point) for point in points]}

    def query_batch(self, name: str, body) -> list[dict]:
        searches = need(only(body, "searches"), "searches")
        answers = batches.run(self._shard(name).engine, searches)
        return [{"points": [scored_as_json(point) for point in points]} for points in answers]


def _alias(alias: str, target: str) -> dict:
    return {"alias_name": alias, "collection_name": target}
