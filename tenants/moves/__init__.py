"""Moving a tenant from one database to another, with one code path for promoting, demoting and rebalancing.

orders    what an operator asks for: plan, cancel, go back, finish
running   the steps of a move, killable at any line
bulk      many tables at once over several connections
changes   what is written meanwhile: noted, carried, compared
copying   rows, indexes, sequences and checksums between two connections
progress  how far a move has come
"""
