# Development targets. On a machine with Python 3.11+, pip and make nothing else has to be there first.
.DEFAULT_GOAL := help
.PHONY: help demo test faults setup lock s3 s3-stop

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo:  ## learn a stream of real tasks end to end, on this machine alone
	@infra/setup
	@.venv/bin/apd demo

test:  ## environment, then format, lint, types, import contracts, tests
	@infra/setup dev
	@infra/setup-system
	@infra/check

faults:  ## kill, cut, fill and corrupt everything under the store; prints how often
	@infra/setup dev
	@infra/setup-system
	@.venv/bin/python -m pytest -m faults tests/store

setup:  ## the environment in .venv, with what the tests need
	@infra/setup dev

lock: setup  ## remake the locked requirements; UPGRADE=1 moves them to the newest versions
	@.venv/bin/python infra/lock.py $(if $(UPGRADE),--upgrade)

s3: setup  ## a real S3 server on this machine with the bucket s3://apd; prints how to reach it
	@infra/setup-system
	@eval "$$(infra/s3/ceph start .s3)" && \
		.venv/bin/python -c "import s3fs; s3fs.S3FileSystem().makedirs('apd', exist_ok=True)"
	@infra/s3/ceph start .s3

s3-stop:  ## stop that server; .s3/ keeps its data
	@infra/s3/ceph stop .s3
