"""Snakemake, started faster: `python -m gon.engine` takes its options."""

from gon.processes import expect_little_garbage

if __name__ == "__main__":
    expect_little_garbage()
    from snakemake.cli import main

    main()
