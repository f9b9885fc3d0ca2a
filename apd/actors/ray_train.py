"""Ray Train's trainer, without the two actors of it that outlive a run. Import it late: it takes seconds.

A pending placement group tells an autoscaler what is missing, and Ray ends all that a dead controller owned, its
placement group included. So neither is needed here: the shared actor through which Ray Train talks to an autoscaler,
which stays for as long as the cluster; and a watcher over each controller, which asks Ray's dashboard whether that is
alive, and where there is no dashboard asks for ever.
"""

from typing import Any

from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2.torch.torch_trainer import TorchTrainer


class _Fixed(FixedScalingPolicy):
    """So many workers, asked of nobody but the scheduler."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Nothing to announce."""

    def _maybe_send_resource_request(self) -> None:
        """Nobody to ask."""


class Run(TorchTrainer):
    """One run of Ray Train; when it ends, or its process does, nothing is left of it."""

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, PlacementGroupCleanerCallback)]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        policy = _Fixed(settings["scaling_policy"].scaling_config)
        return super()._initialize_and_run_controller(**settings | {"scaling_policy": policy})
