"""A study that any number of processes share: each of its trials is done once, whoever is killed.

What is to be done are the draws 0, 1, 2, ...: a trial says which one it is. Whoever has nothing to
do puts the first draw that no living trial has into the queue and takes one from there. Where two
processes put in the same draw at once, the trial with the larger number yields. A process tells
that it lives by a count that it raises while it works; a trial whose count stands still for a while
is given up (by the clock of who watches: those of other machines may differ), and its draw is free
again. So nothing has to be agreed on but what the storage does anyway: it numbers trials, and hands
each from the queue to one process only.

Chance comes from the seed and the draw. Alone, a process that is killed and resumed goes on as if
nothing had been.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...command.optional import load

BEAT_S = 2.0
GRACE_S = 10.0  # without a beat: given up
_POLL_S = 0.5
_SEEDS = 1 << 32

Params = Mapping[str, float]


class Shared:
    """Draws of one study.

    first: the parameters of a draw that are given, {} where the sampler is to choose. `beat` and
    `grace` are seconds.
    """

    def __init__(
        self, study: Any, seed: int, first: Callable[[int], Params],
        beat: float = BEAT_S, grace: float = GRACE_S,
    ) -> None:  # fmt: skip
        self.study = study
        self._states = load("optuna").trial.TrialState
        self._live = (self._states.COMPLETE, self._states.RUNNING, self._states.WAITING)
        self._first = first
        self._beat = beat
        self._grace = grace
        self._seen: dict[int, tuple[object, float]] = {}  # running trial: its count, since when
        study.sampler = Seeded(seed)

    def settle(self) -> None:
        """Wait until each running trial is known to be alive, done, or given up.

        A run that goes on thus begins with what it was at when it was killed.
        """
        unknown = {trial.number for trial in self._trials(self._states.RUNNING)}
        counts: dict[int, object] = {}
        while unknown:
            running = {t.number: t.user_attrs.get("beat") for t in self._give_up()
                       if t.state is self._states.RUNNING}  # fmt: skip
            unknown = {n for n in unknown & set(running)
                       if counts.setdefault(n, running[n]) == running[n]}  # fmt: skip
            if unknown:
                time.sleep(min(_POLL_S, self._beat))

    def next(self, trials: int) -> Any | None:
        """A trial to do, one of the draws below `trials`; None when all are done.

        Waits while others are at the last ones, as these may be killed.
        """
        while True:
            every = self._give_up()
            taken = {t.user_attrs.get("draw") for t in every if t.state in self._live}
            free = next((draw for draw in range(trials) if draw not in taken), None)
            if not any(t.state is self._states.WAITING for t in every):
                if free is not None:
                    self.study.enqueue_trial(dict(self._first(free)), {"draw": free})
                elif any(t.state is self._states.RUNNING for t in every):
                    time.sleep(_POLL_S)
                    continue
                else:
                    return None
            trial = self.study.ask()
            if self._is_the_one(trial):
                return trial
            self._fail(trial.number)

    @contextlib.contextmanager
    def working(self, trial: Any) -> Iterator[None]:
        """While a trial is worked on: its count goes up; given back where that ends in an error."""
        over = threading.Event()
        thread = threading.Thread(target=self._beats, args=(trial, over), daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self._fail(trial.number)
            raise
        finally:
            over.set()
            thread.join()

    def tell(self, trial: Any, value: float, found: Mapping[str, object]) -> bool:
        """Note a trial's result; False where it was given up meanwhile, and is another's to do."""
        try:
            trial.set_user_attr("found", dict(found))
            self.study.tell(trial, value)
        except (ValueError, load("optuna").exceptions.UpdateFinishedTrialError):
            return False
        return True

    def results(self) -> list[tuple[int, float, dict[str, Any]]]:
        """Draw, value and what else was found of each trial that is done, by draw."""
        done = self._trials(self._states.COMPLETE)
        return sorted(
            ((t.user_attrs["draw"], t.value, t.user_attrs["found"]) for t in done),
            key=lambda each: each[0],
        )

    def _trials(self, *states: object) -> list[Any]:
        found: list[Any] = self.study.get_trials(deepcopy=False, states=states or None)
        return found

    def _is_the_one(self, trial: Any) -> bool:
        """Whether no trial before it has its draw; one that says no draw is nobody's."""
        draw = trial.user_attrs.get("draw")
        before = (t for t in self._trials(*self._live) if t.number < trial.number)
        return draw is not None and all(t.user_attrs.get("draw") != draw for t in before)

    def _give_up(self) -> list[Any]:
        """Fail the running trials whose count stands still for too long; all trials after that."""
        now = time.monotonic()
        every, failed = self._trials(), False
        for trial in every:
            if trial.state is not self._states.RUNNING:
                continue
            count = trial.user_attrs.get("beat")
            before, since = self._seen.setdefault(trial.number, (count, now))
            if count != before:
                self._seen[trial.number] = (count, now)
            elif now - since > self._grace:
                self._fail(trial.number)
                failed = True
        return self._trials() if failed else every

    def _fail(self, number: int) -> None:
        # Another process may have been faster, and the trial's own may yet have come to its end.
        with contextlib.suppress(ValueError, load("optuna").exceptions.UpdateFinishedTrialError):
            self.study.tell(number, state=self._states.FAIL)

    def _beats(self, trial: Any, over: threading.Event) -> None:
        count = 0
        while not over.wait(self._beat):
            count += 1
            try:
                trial.set_user_attr("beat", count)
            except Exception:  # given up, or the storage is gone: the work itself will hear of it
                return


class Seeded:
    """Optuna's TPE sampler, made anew for each trial, seeded by the study's seed and its draw.

    With one sampler for all, a run that goes on would draw again what it began with, and processes
    that share a seed would all draw the same.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._draw: object = None
        self._sampler: Any = None

    def _of(self, trial: Any) -> Any:
        draw = trial.user_attrs.get("draw", "")
        if self._sampler is None or draw != self._draw:
            digest = hashlib.sha256(f"{self._seed}:{draw}".encode()).hexdigest()
            optuna = load("optuna")
            self._sampler = optuna.samplers.TPESampler(seed=int(digest, 16) % _SEEDS)
            self._draw = draw
        return self._sampler

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        """As of Optuna's samplers, here and below."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        """Parameters that are drawn together."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        """A parameter that is drawn alone."""
        return self._of(trial).sample_independent(study, trial, name, distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        """Called as a trial begins."""
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Called as it ends."""
        self._of(trial).after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Nothing: chance is the draw's."""
