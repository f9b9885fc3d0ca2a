"""In which orders the tasks of a benchmark arrive: A to E, so that what depends on the order can be measured."""

from typing import Literal, get_args

from apd.config import require
from apd.data.splits import permutation

Order = Literal["A", "B", "C", "D", "E"]
ORDERS: tuple[Order, ...] = get_args(Order)

AUTHORS: dict[str, dict[str, str]] = {
    "cifar100-split": {
        "B": "1 7 4 5 2 0 8 6 9 3",
        "C": "7 0 5 1 8 4 3 6 2 9",
        "D": "5 8 2 9 0 4 3 7 6 1",
        "E": "2 9 5 4 8 0 6 1 3 7",
    },
    "cifar100-superclass": {
        "B": "15 12 5 9 7 16 18 17 1 0 3 8 11 14 10 6 2 4 13 19",
        "C": "17 1 19 18 12 7 6 0 11 15 10 5 13 3 9 16 4 14 2 8",
        "D": "11 9 6 5 12 4 0 10 13 7 14 3 15 16 8 1 2 19 18 17",
        "E": "6 14 0 11 12 17 13 4 9 1 7 19 8 10 3 15 18 5 2 16",
    },
}
"""The orders of Yoon et al. (ICLR 2020), which others use as well; A is the natural one."""


def order_of(benchmark: str, order: str, count: int) -> tuple[int, ...]:
    """Numbers of the first `count` tasks in the order of their arrival.

    A: as they are. B to E: the authors' where they published one, else fixed permutations of our own. With fewer tasks
    than the benchmark has, the others are left out of the order, so that all orders hold the same tasks.
    """
    require(order in ORDERS, "order", order, f"one of {', '.join(ORDERS)}")
    if order == "A":
        return tuple(range(count))
    if order in AUTHORS.get(benchmark, {}):
        return tuple(number for number in map(int, AUTHORS[benchmark][order].split()) if number < count)
    return tuple(permutation(count, ord(order)).tolist())
