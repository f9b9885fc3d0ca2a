"""What an installation needs around the flows.

automations   how Prefect answers to events, as code
setup         work pool, deployments and automations, made or brought up to date
services      what runs on one machine: Prefect's server and worker, Ray, a local S3 server
processes     started in the background, recognised for certain, ended again
local         `apd up` and `apd down`
"""
