import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.prox import preconditioned_threshold, soft_threshold

numbers = st.floats(-10, 10, allow_subnormal=False)
amounts = st.floats(0, 5, allow_subnormal=False)


def double(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(numbers, amounts, numbers)
def test_soft_threshold_minimises_the_documented_problem(x, threshold, other):
    def problem(y):
        return 0.5 * (y - x) ** 2 + threshold * abs(y)

    found = float(soft_threshold(double(x), threshold))
    assert problem(found) <= problem(other) + 1e-12
    assert problem(found) <= problem(found + 1e-4 * other) + 1e-12


@given(numbers, amounts)
def test_soft_threshold_is_its_scalar_formula(x, threshold):
    expected = (1 if x > 0 else -1) * max(abs(x) - threshold, 0)
    assert abs(float(soft_threshold(double(x), threshold)) - expected) <= 1e-12


def test_soft_threshold_keeps_shape_and_dtype_and_broadcasts():
    x = torch.tensor([[1.0, -3.0], [2.0, 0.5]])
    shrunk = soft_threshold(x, torch.tensor([[1.0], [0.5]]))
    assert shrunk.dtype == torch.float32
    assert shrunk.tolist() == [[0.0, -2.0], [1.5, 0.0]]


def test_soft_threshold_of_zero_changes_nothing():
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(soft_threshold(x, 0.0), x)


@given(numbers, st.floats(0, 3), st.floats(0, 4), numbers)
def test_preconditioned_threshold_minimises_in_adams_metric(x, weight, second_moment, other):
    rate, epsilon = 0.1, 1e-3
    metric = (second_moment**0.5 + epsilon) / rate

    def problem(y):
        return 0.5 * metric * (y - x) ** 2 + weight * abs(y)

    found = float(soft_threshold(double(x), preconditioned_threshold(weight, double(second_moment), rate, epsilon)))
    assert problem(found) <= problem(other) + 1e-9
    assert problem(found) <= problem(found + 1e-4 * other) + 1e-9
