"""Moving a tenant from one database to another, with one code path for promoting, demoting and rebalancing.

orders   what an operator asks for: plan, cancel, go back, finish
running  the steps of a move, killable at any line
copying  rows, indexes, sequences and checksums between two connections
"""
