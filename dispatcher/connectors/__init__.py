"""Connectors: the places that records come from and outcomes go to, a folder for each kind.

A folder holds the kind's ``source.py``, its ``sink.py``, or both, and what only these need. Above
the folders stand the contract of sinks (``sink.py``; that of sources is in
``dispatcher.records.source``), the lines that every kind of sink writes (``outcome_lines.py``), and
``open_source.py`` and ``open_sinks.py``, which choose the kind that the configuration names.
"""
