"""The readers, one module per kind. They run in the limited process only, and import nothing of ours beside.

A reader is a function `read(data: bytes)` that yields `items.head(...)` and `items.block(...)`.
"""
