"""Labelled tasks: their format, splits and checks, and ways to make them. The format is described in `apd.data.format`.

splits      samples; batches; stratified splits; several tasks as one
format      the task folder and its metadata
rows        its Parquet files, streamed
validate    check a folder
advice      what is odd about a task that is in order
spool       samples on disk instead of in memory
loading     a folder's samples
write       make a folder
packing     make one from arrays, pictures, Parquet, any Dataset
tasks       a task in memory, with its name
digits      sixteen small tasks from scikit-learn's digits
official    benchmark streams from the official files of public datasets
"""

from apd.data.advice import advice
from apd.data.format import Folder, LocalFolder, TaskInfo, check_name, measure, read_info
from apd.data.loading import load_task
from apd.data.packing import (
    pack,
    pack_arrays,
    pack_dataset,
    pack_image_folder,
    pack_numpy,
    pack_parquet,
    read_inputs,
)
from apd.data.splits import Pool, Samples, Split, TaskData, pool
from apd.data.tasks import NamedTask
from apd.data.validate import check_fits, validate_task
from apd.data.write import write_task

__all__ = [
    "Folder",
    "LocalFolder",
    "NamedTask",
    "Pool",
    "Samples",
    "Split",
    "TaskData",
    "TaskInfo",
    "advice",
    "check_fits",
    "check_name",
    "load_task",
    "measure",
    "pack",
    "pack_arrays",
    "pack_dataset",
    "pack_image_folder",
    "pack_numpy",
    "pack_parquet",
    "pool",
    "read_info",
    "read_inputs",
    "validate_task",
    "write_task",
]
