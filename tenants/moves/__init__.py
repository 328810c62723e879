"""Moving a tenant from one database to another, with one code path for promoting, demoting and rebalancing.

orders     what an operator asks for: plan, cancel, go back, finish
running    the way of a move, killable at any line
steps      what its steps share: where it stands, the lock, the operator's wish
exclusion  one process at a time moves a tenant
ahead      large tenants, copied while they work
bulk       many tables at once over several connections
changes    what is written meanwhile: noted, carried, compared
copying    rows, indexes, sequences and checksums between two connections
remains    what a move leaves behind
progress   how far a move has come
showing    the same at a terminal
"""
