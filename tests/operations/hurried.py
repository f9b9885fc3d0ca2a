"""Prefect's engine, but it renews the lease of its run every 3 s instead of every 225; started by `python -m`."""

import runpy

from prefect.concurrency import _leases

_leases._RENEWAL_FRACTION = 0.01  # of 300 s

if __name__ == "__main__":
    runpy.run_module("prefect.engine", run_name="__main__")
