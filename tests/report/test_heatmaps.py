import pytest

from apd.report.heatmaps import thinned


@pytest.mark.parametrize(
    ("last", "shown"),
    [
        (1, [1]),
        (16, list(range(1, 17))),
        (25, [1, 5, 10, 15, 20, 25]),
        (100, [1, *range(10, 101, 10)]),
        (1000, [1, *range(100, 1001, 100)]),
    ],
)
def test_axes_number_the_first_and_round_numbers(last, shown):
    numbers = range(1, last + 1)
    assert [numbers[place] for place in thinned(numbers)] == shown


def test_versions_need_not_start_at_one():
    assert thinned([3, 4, 6]) == [0, 1, 2]
