"""Small tasks as training would leave them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from apd.config import ConsolidationConfig, StreamConfig
from apd.consolidation import consolidate
from apd.data import TaskInfo
from apd.state import Arrival, Learned, Snapshot, Sparse, TaskState
from apd.store import Candidate, Proposal, Stream, Version

CONFIG = StreamConfig(input_shape=(2,), input_dtype="float32")
SETTINGS = ConsolidationConfig(tolerance=3.0, clusters_per_round=2, least_saving=1)
SHAPES = {"first.weight": (4, 2), "second.weight": (3, 4)}
METRICS = {"validation_accuracy": 0.9, "test_accuracy": 0.8, "seconds": 1.5, "baseline": 0.5}


def info_of(name: str) -> TaskInfo:
    return TaskInfo(name=name, classes=("cat", "dog"), input_shape=(2,), input_dtype="float32")


def random_sparse(shape: tuple[int, ...], generator: torch.Generator, density: float = 0.3) -> Sparse:
    kept = torch.rand(shape, generator=generator) < density
    return Sparse.from_dense(torch.randn(shape, generator=generator) * kept)


def similar_sparse(shape: tuple[int, ...], generator: torch.Generator, group: int) -> Sparse:
    """Nearly the same for every task of a group, so that a consolidation has something to share."""
    common = random_sparse(shape, torch.Generator().manual_seed(99 + group), 0.6)
    noise = 0.01 * torch.randn(common.nnz, generator=generator)
    return Sparse(shape, common.indices, common.values + noise)


def learned_on(arrival: Arrival, name: str, seed: int = 0) -> Learned:
    """What a training of the task on top of `arrival` could have produced."""
    generator = torch.Generator().manual_seed(seed)
    if arrival.sigma is None:
        step = {key: Sparse.zeros(shape) for key, shape in SHAPES.items()}
        sigma = {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}
    else:
        step = {key: random_sparse(shape, generator, 0.1) for key, shape in SHAPES.items()}
        sigma = {key: step[key].add_to(tensor) for key, tensor in arrival.sigma.items()}
    task = TaskState(
        name=name,
        sigma=sigma,
        mask_logits={key: torch.randn(shape[0], generator=generator) for key, shape in SHAPES.items()},
        tau={key: similar_sparse(shape, generator, seed % 2) for key, shape in SHAPES.items()},
        private={"first.bias": torch.randn(4, generator=generator), "steps": torch.tensor(seed)},
        clusters={},
        local_shared={},
    )
    return Learned(task, step, validation_accuracy=0.9)


def candidate_of(stream: Stream, base: Version, name: str, seed: int = 0) -> Candidate:
    number = stream.inbox.register(info_of(name))
    learned = learned_on(stream.arrival(base), name, seed)
    return stream.write_candidate(learned, base=base, info=info_of(name), metrics=METRICS, arrival=number)


def learn(stream: Stream, name: str, seed: int = 0) -> Version:
    return stream.commit_candidate(candidate_of(stream, stream.head(), name, seed))


def learn_four(stream: Stream, scratch: Path) -> None:
    """Tasks a, b, c and d; the data of a is in the store."""
    folder = stream.inbox.submit(write_task_folder(scratch / "a", "a"))
    stream.inbox.accept(folder, info_of("a"))
    learned = learned_on(stream.arrival(stream.head()), "a", 1)
    stream.commit_candidate(stream.write_candidate(learned, base=stream.head(), info=info_of("a"), metrics={}))
    for seed, name in enumerate("bcd", start=2):
        learn(stream, name, seed)


def grow(stream: Stream, scratch: Path) -> None:
    """Four tasks, one with data, a consolidation, a fifth task, an attempt at a sixth, an evaluation."""
    learn_four(stream, scratch)
    consolidated(stream)
    learn(stream, "e", 5)
    stream.inbox.register(info_of("f"))
    stream.begin_attempt("f", stream.head().number)
    stream.save_attempt("f", Snapshot({}, {"epoch": 1}))
    stream.evaluations.put(stream.head().entry("a").theta_key, {"test_accuracy": 0.7})


def everything(stream: Stream) -> dict[str, bytes]:
    return {listed.key: stream.objects.read(listed.key) for listed in stream.objects.list("")}


def proposal_of(stream: Stream) -> Proposal:
    """A consolidation of the head, not committed."""
    head = stream.head()
    tasks = [stream.load_entry(entry) for entry in head.entries]
    outcome = consolidate(tasks, stream.load_sigma(head.sigma), stream.clustering(head), SETTINGS)
    return stream.write_consolidation(outcome, base=head)


def consolidated(stream: Stream) -> Version:
    return stream.commit_consolidation(proposal_of(stream))


def write_task_folder(folder: Path, name: str, rows: int = 8) -> Path:
    folder.mkdir(parents=True)
    inputs = pa.FixedSizeListArray.from_arrays(pa.array([float(i) for i in range(2 * rows)], pa.float32()), 2)
    labels = pa.array([row % 2 for row in range(rows)], pa.int64())
    pq.write_table(pa.table({"input": inputs, "label": labels}), folder / "train.parquet")
    (folder / "task.json").write_text(json.dumps(info_of(name).to_json()))
    return folder
