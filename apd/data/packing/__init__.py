"""Make task folders from what people have: arrays, numpy's files, pictures, Parquet, torch Datasets."""

from apd.data.packing.any import pack, read_inputs
from apd.data.packing.arrays import pack_arrays
from apd.data.packing.datasets import pack_dataset
from apd.data.packing.files import pack_numpy
from apd.data.packing.parquet import pack_parquet
from apd.data.packing.pictures import pack_image_folder

__all__ = [
    "pack",
    "pack_arrays",
    "pack_dataset",
    "pack_image_folder",
    "pack_numpy",
    "pack_parquet",
    "read_inputs",
]
