"""Benchmark streams from the official files of public datasets.

sources      which files, where to get them, their checksums
labelled     a dataset in memory; tasks of some of its classes
idx          MNIST and Fashion-MNIST
omniglot     Omniglot's characters in rotation
cifar        CIFAR-10 and CIFAR-100
five         five datasets of ten classes
orders       the five orders of arrival
benchmarks   all of it by name
"""

from apd.data.official.benchmarks import BENCHMARKS, Benchmark, load_benchmark
from apd.data.official.orders import ORDERS

__all__ = ["BENCHMARKS", "ORDERS", "Benchmark", "load_benchmark"]
