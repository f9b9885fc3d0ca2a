"""What a step of Adam does to tensors that do not all look the same."""

import torch

from apd.adam import Adam, Group


def test_tensors_of_several_dtypes_move_alike_and_are_given_to_the_kernel_apart():
    tensors = {"single": torch.ones(3), "double": torch.ones(3, dtype=torch.float64), "other": torch.ones(2)}
    adam = Adam((Group(tensors), Group({})))
    assert [(names, rate) for _, names, rate in adam._calls([0.1, 0.2])] == [
        (["single", "other"], 0.1),
        (["double"], 0.1),
    ]
    adam.step({name: torch.ones_like(tensor) for name, tensor in tensors.items()}, [0.1, 0.2])
    for tensor in tensors.values():
        torch.testing.assert_close(tensor, torch.full_like(tensor, 0.9))
