"""Runs: from a spec to a sealed record, continued bit for bit."""
