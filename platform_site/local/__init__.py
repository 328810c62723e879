"""Runs Atrium on one machine: the embedded services, and the supervisor behind `bin/up` and `bin/test`.

Nothing here imports Django: it has to work before the settings can be read.
"""
