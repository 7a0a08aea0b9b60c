"""Gradient Origin Networks, made executable: training, evidence and report."""
