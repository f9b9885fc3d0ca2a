"""Types of flow parameters. From them Prefect's UI draws its forms, and refuses a wrong value before a run starts."""

from typing import Annotated, Literal

from pydantic import Field

from apd.data.format import SAFE_NAME

StreamUrl = Annotated[str, Field(min_length=1, examples=["s3://bucket/stream"])]
TaskName = Annotated[str, Field(pattern=f"^{SAFE_NAME.pattern}$")]
VersionNumber = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]

IfRefused = Literal["leave", "accept", "train again"]
BenchmarkName = Literal[
    "digits",
    "omniglot-rotation",
    "permuted-mnist",
    "fashion-mnist-split",
    "five-datasets",
    "cifar100-split",
    "cifar100-superclass",
]
