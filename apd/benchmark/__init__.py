"""Methods compared on public streams of tasks, as published: several orders of arrival, several seeds.

protocol     what is compared: methods, orders, seeds, and what they share
contenders   the methods behind one interface
cell         one method over one order from one seed, in memory
summary      from cells to figures: accuracy, forgetting, order disparity, capacity
tables       Markdown and rows
orders       the same tasks in other orders, for a stream's report
publish      tables and figures into the place of the results
"""

from apd.benchmark.cell import CellResult, Step, TaskResult, data_of, load_tasks, network_for, run_cell
from apd.benchmark.orders import method_like, other_orders, other_settings
from apd.benchmark.protocol import METHODS, Cell, Protocol, cells, protocol_of
from apd.benchmark.publish import publish
from apd.benchmark.summary import Figure, MethodSummary, summarise

__all__ = [
    "METHODS",
    "Cell",
    "CellResult",
    "Figure",
    "MethodSummary",
    "Protocol",
    "Step",
    "TaskResult",
    "cells",
    "data_of",
    "load_tasks",
    "method_like",
    "network_for",
    "other_orders",
    "other_settings",
    "protocol_of",
    "publish",
    "run_cell",
    "summarise",
]
