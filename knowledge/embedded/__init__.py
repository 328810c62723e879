"""The vector service of a one-command installation: a small process around Qdrant's own engine.

It speaks the part of Qdrant's REST interface that Atrium uses, so `qdrant-client` talks to it and to a
real Qdrant alike. One process, one thread: the engine keeps Python's lock during every call, so more
threads would only wait for each other. What it does not know it refuses with 501; it never ignores a
key of a request, because an ignored filter would show somebody the passages of somebody else.
"""
