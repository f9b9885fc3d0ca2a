"""When what happens: thin Prefect flows over `apd`, and the `apd` command.

A flow is a table of contents; its steps are in `steps`, `gates` and `cells`, which alone hold retries and timeouts.
Flows hand references on (a stream's URL, a version's number, a task's name), never tensors. The store's commit is the
lock.
"""
