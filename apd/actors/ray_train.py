"""Ray Train's trainer in a placement group that its caller made. Import it late: it takes seconds.

Left to itself a run of Ray Train leaves things behind when its process is killed. Ray keeps the placement group of a
dead actor for as long as the driver lives, with the resources that the next try needs; Ray Train's own watcher over
that asks Ray's dashboard, and where there is none it asks for ever; one more actor, which speaks with an autoscaler,
stays with the cluster. Here the driver makes the group and removes it, a pending group tells an autoscaler what is
missing, and all actors are owned by the process that runs this.

Nor does it start what a team does not need: a controller in a process of its own, and an actor for data sets, whose
library every worker would import. A team of two has its first epoch after 9.5 s then instead of 12.5 (2 busy cores).
"""

import asyncio
from typing import Any

from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.placement_group import PlacementGroup


class _Fixed(FixedScalingPolicy):
    """So many workers, asked of nobody but the scheduler."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Nothing to announce."""

    def _maybe_send_resource_request(self) -> None:
        """Nobody to ask."""


class Run(TorchTrainer):
    """One run of Ray Train on workers in this placement group, controlled by the process that runs it."""

    def __init__(self, work: Any, place: PlacementGroup, **settings: Any) -> None:
        """settings: those of TorchTrainer."""
        super().__init__(work, **settings)
        self._place = place

    def _create_default_callbacks(self) -> list[Any]:
        made = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, PlacementGroupCleanerCallback | DatasetsCallback)]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        settings["scaling_policy"] = _Fixed(settings["scaling_policy"].scaling_config)
        controller: Any = _controller_in(self._place)(**settings)
        asyncio.run(controller.run())
        return controller.get_result()


def _controller_in(place: PlacementGroup) -> type[TrainController]:
    """Ray Train's controller, whose workers go into this placement group."""

    class Placed(WorkerGroup):
        def _create_placement_group(self, *_: Any) -> DefaultPlacementGroupHandle:
            return DefaultPlacementGroupHandle(place)

    class Controller(TrainController):
        worker_group_cls = Placed

    return Controller
