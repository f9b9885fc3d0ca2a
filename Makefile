# Development targets. On a machine with Python 3.11+, pip and make nothing else has to be there first.
.DEFAULT_GOAL := help
.PHONY: help demo test setup lock s3 s3-stop

help:  ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo:  ## learn a stream of real tasks end to end, on this machine alone
	@infra/setup
	@.venv/bin/apd demo

test:  ## environment, then format, lint, types, import contracts, tests
	@infra/setup dev
	@infra/setup-system
	@infra/check

setup:  ## the environment in .venv, with what the tests need
	@infra/setup dev

lock: setup  ## remake the locked requirements; UPGRADE=1 moves them to the newest versions
	@.venv/bin/python infra/lock.py $(if $(UPGRADE),--upgrade)

s3:  ## a real S3 server on this machine, data in .s3/
	@infra/setup-system
	@infra/s3/ceph start .s3

s3-stop:  ## stop it; .s3/ keeps the data
	@infra/s3/ceph stop .s3
