"""Snakemake's progress for a person: `snakemake --logger gon` says what runs, why, and how far it is.

Snakemake finds this package by the prefix of its name wherever it can be imported, so the project's
root has to be on Python's path (`python -m snakemake` in the root does that). `handler` translates
Snakemake's events into lines; `screen` prints them, and shows the jobs under way.
"""

from snakemake_logger_plugin_gon.handler import LogHandler

__all__ = ["LogHandler"]
