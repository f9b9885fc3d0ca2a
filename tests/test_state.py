import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apd.errors import ShapeMismatch, StateError
from apd.state import Clustering, Sparse, Spec, TaskState


@given(st.lists(st.sampled_from([0.0, 1.0, -2.5]), min_size=6, max_size=6))
def test_sparse_and_dense_are_inverses(values):
    dense = torch.tensor(values).reshape(2, 3)
    sparse = Sparse.from_dense(dense)
    assert torch.equal(sparse.to_dense(), dense)
    assert sparse.nnz == sum(value != 0 for value in values)
    assert torch.equal(sparse.add_to(dense), 2 * dense)


def test_adding_makes_a_new_tensor():
    dense = torch.zeros(2, 2)
    Sparse.from_dense(torch.eye(2)).add_to(dense)
    assert torch.equal(dense, torch.zeros(2, 2))


def test_zeros_are_empty():
    assert Sparse.zeros((3, 4)).nnz == 0
    assert torch.equal(Sparse.zeros((3, 4)).to_dense(), torch.zeros(3, 4))


@pytest.mark.parametrize("indices", [[1, 1], [2, 1], [-1, 0], [0, 4]])
def test_indices_must_increase_within_the_shape(indices):
    with pytest.raises(StateError, match=r"increase strictly within 0..3 for shape \(2, 2\)"):
        Sparse((2, 2), torch.tensor(indices), torch.ones(2))


def test_sparse_refuses_other_shapes_and_dtypes():
    with pytest.raises(ShapeMismatch, match=r"indices \(2,\) and values \(3,\) differ"):
        Sparse((2, 2), torch.tensor([0, 1]), torch.ones(3))
    with pytest.raises(StateError, match=r"found torch.int64 and torch.float64"):
        Sparse((2, 2), torch.tensor([0]), torch.ones(1, dtype=torch.float64))


def test_the_size_of_a_network_is_that_of_what_it_shares():
    assert Spec({"a": (2, 3), "b": (4, 1)}, {"bias": ((7,), "float32")}, ("head",)).size == 10


def task(**changes) -> TaskState:
    values = {"name": "a", "sigma": {"w": torch.zeros(2, 3)}, "mask_logits": {"w": torch.zeros(2)}, "private": {}}
    return TaskState(**(values | {"tau": {"w": Sparse.zeros((2, 3))}, "clusters": {}, "local_shared": {}} | changes))


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(ShapeMismatch, match=r"mask_logits\['w'\] of task 'a' is \(3,\), sigma asks for \(2,\)"):
        task(mask_logits={"w": torch.zeros(3)})
    with pytest.raises(ShapeMismatch, match=r"tau\['w'\] of task 'a' is \(3, 2\), sigma asks for \(2, 3\)"):
        task(tau={"w": Sparse.zeros((3, 2))})
    with pytest.raises(StateError, match=r"tau of task 'a' has \['v'\], sigma has \['w'\]"):
        task(tau={"v": Sparse.zeros((2, 3))})
    with pytest.raises(StateError, match=r"has clusters .* but sigma_g"):
        task(clusters={"w": 1})
    with pytest.raises(ShapeMismatch, match="local_shared"):
        task(clusters={"w": 1}, local_shared={"w": Sparse.zeros((1, 1))})


def test_a_clustering_survives_json():
    clustering = Clustering(2, {"w": (("a", "b"), ("c",))})
    assert Clustering.from_json(clustering.to_json()) == clustering
