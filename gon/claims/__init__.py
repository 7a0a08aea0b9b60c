"""Claims: parameters and plan, what a notebook works with, its result, and the verdicts."""
