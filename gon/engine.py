"""Snakemake, started and ended faster: `python -m gon.engine` takes its options."""

import threading

from gon.processes import expect_little_garbage

if __name__ == "__main__":
    expect_little_garbage()
    from snakemake.cli import main

    try:
        main()
    finally:
        # It would look for jobs once more, a second after the last one was started.
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.cancel()
