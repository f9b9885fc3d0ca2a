"""sigma learned again by actors (`apd.refit`).

    joint        once       joint training of all tasks, on one actor; it opens the data of all of them
    learn_again  per task   on top of that sigma, on as many actors as there is room for
    conclude     once       the proposal

Every training is saved as often as the stream wants it, and when it ends: where an actor or the caller is lost, the
next try at the same version goes on from there. The gate's answer, or the commit, removes what was saved.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from apd.actors.consolidation import Consolidator, Job
from apd.actors.crew import crew
from apd.actors.workers import goes_on
from apd.joint import JointTask, JointTraining
from apd.refit import differing, fit_again, joint_training, merged, outcome, report, sigma_of
from apd.state import ParameterReport
from apd.store import Proposal, SigmaRef, Stream, TaskEntry
from apd.store.attempts import REFIT, learned_again
from apd.store.proposals import rewrite
from apd.training import Fit


@dataclass(frozen=True, slots=True)
class Again:
    """One task in its new form."""

    entry: TaskEntry
    report: dict[str, ParameterReport]


def propose_refit(stream: Stream, base: int, tell: Callable[[str], None]) -> Proposal:
    """Learn the tasks of version `base` together and then each anew; the proposal's blobs are in the store.

    tell: is given a line whenever a part is done.
    """
    started, entries, job = time.monotonic(), stream.version(base).entries, Job(base, 0.0, secrets.token_hex(16))
    with crew(Refitter, stream.url, stream.config.resources, most=len(entries)) as work:
        sigma, moved = work.one("joint", job)
        tell(f"sigma learned from {len(entries)} tasks together")
        found = list[Again]()
        for again in work.each("learn_again", entries, job, sigma):
            tell(f"{again.entry.name} learned again on top of it")
            found.append(again)
        stored = sum(entry.tau_nnz for entry in entries)
        regrouping = outcome(stored, moved, merged(again.report for again in found))
        seconds, renewed = time.monotonic() - started, [again.entry for again in found]
        proposal: Proposal = work.one("conclude", job, sigma, regrouping, renewed, seconds)
    return proposal


class Refitter(Consolidator):
    """What one actor does of it."""

    def joint(self, job: Job) -> tuple[SigmaRef, int]:
        """Store the sigma of all tasks together; also in how many elements it differs from the newest."""
        version = self.stream.version(job.base)
        tasks, newest = [self._task(entry) for entry in version.entries], self._newest(version)
        learning, epochs = self.stream.config.learning, self.stream.config.consolidation.refit_epochs
        joint = joint_training(self.network, tasks, newest, learning, epochs=epochs, device=self.device)
        self._finish(joint, REFIT, job.base)
        sigma = sigma_of(joint)
        reference = self.stream.records.sigmas.write(sigma, {"commit": job.commit}, near=version.sigma)
        return reference, differing(sigma, newest)

    def learn_again(self, entry: TaskEntry, job: Job, sigma: SigmaRef) -> Again:
        """Train the task on top of this sigma and store it."""
        stream, before = self.stream, self.stream.load_entry(entry)
        task, single = self._task(entry), stream.load_sigma(sigma)
        fit = fit_again(self.network, task, single, stream.config.learning, device=self.device)
        self._finish(fit, learned_again(entry.name), job.base)
        after = fit.result().task
        return Again(rewrite(stream.records, entry, after, sigma, job.commit), report(before, after))

    def _finish(self, training: JointTraining | Fit, attempt: str, base: int) -> None:
        """Train to the end, from where an attempt at this version ended."""
        stream, saved = self.stream, time.monotonic()
        before = stream.load_attempt(attempt)
        if before is not None:
            goes_on(training, before, base)
        for progress in training.epochs():
            over = progress.epoch == progress.epochs
            if over or time.monotonic() - saved >= stream.config.resources.save_every:
                stream.save_attempt(attempt, training.snapshot(), base=base)
                saved = time.monotonic()

    def _task(self, entry: TaskEntry) -> JointTask:
        return JointTask(entry.name, len(entry.classes), self.stream.load_data(entry.name))
