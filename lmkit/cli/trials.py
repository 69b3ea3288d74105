"""The runs of an ablation: their command lines, what is left of them, and what is written after each."""

import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence

from lmkit.ablation import report
from lmkit.ablation.code import changes
from lmkit.ablation.folder import Folder
from lmkit.ablation.outcome import Outcome, Run, gather
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.plot import draw
from lmkit.ablation.results import read as read_result
from lmkit.ablation.runner import Ended, Start, error_line, run_all
from lmkit.checkpoints import read as read_checkpoint
from lmkit.cli.identity import check_run, numbers
from lmkit.errors import RunError, UserError

SECONDS = 20.0
"""For how long an arm is timed, after its first steps."""

ENDLESS = 10_000_000
"""Optimizer steps of a run that is stopped by the clock."""


class Trials:
    """Times and trains the arms of a plan in its folder.

    Args:
        folder: the ablation's.
        fit: the options of `lmkit fit` that all arms share.
        devices: one for each run at a time, as `run_all` takes them.
        inherited: a file descriptor that the runs keep open.
        keep_checkpoints: whether finished runs keep theirs.
        code: tells what the runs are made by, as it is now.
    """

    def __init__(
        self,
        folder: Folder,
        fit: Sequence[str],
        devices: Sequence[str | None],
        inherited: int,
        keep_checkpoints: bool,
        code: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self.folder, self.fit, self.devices = folder, fit, devices
        self._code, self._first_code = code, code()
        self.inherited, self.keep_checkpoints = inherited, keep_checkpoints
        self._seconds: list[float] = []  # of the runs that have ended well

    def time(self, plan: Plan, kept: Plan | None) -> Plan:
        """The plan with the seconds of a step, measured unless they were measured before.

        Raises:
            RunError: an arm cannot be timed.
        """
        known = {planned.arm: planned.cost.seconds_per_step for planned in kept.arms} if kept else {}

        def timed() -> Plan:
            arms = [p._replace(cost=p.cost._replace(seconds_per_step=known.get(p.arm))) for p in plan.arms]
            return plan._replace(arms=arms)

        def begin(planned: Planned) -> Start:
            print(f"timing arm {planned.arm.number} of {len(plan.arms)}: {planned.arm.name}", flush=True)
            return self._clocked(planned)

        def end(planned: Planned, ended: Ended) -> None:
            name, file = _timing(planned), self.folder.path / f"{_timing(planned)}.json"
            self.folder.clear(name)
            if ended.code or not file.is_file():
                why = error_line(self.folder.log(name), ended.code)
                raise RunError(f"the arm {planned.arm.name} cannot be timed: {why}")
            known[planned.arm] = json.loads(file.read_text(encoding="utf-8"))["seconds_per_step"]
            file.unlink()
            self.folder.keep(timed())

        waiting = [planned for planned in plan.arms if not known.get(planned.arm)]
        run_all(waiting, self.devices, begin, end, self.inherited)
        return timed()

    def run(self, plan: Plan, command: str) -> Outcome:
        """Trains what is not yet trained; after each run the tables are written anew.

        Args:
            plan: with the steps of every arm.
            command: the command line, for the table.

        Raises:
            KeyboardInterrupt: it was stopped; the same command goes on.
            UserError: what is there is no run of the plan, or a plugin is edited meanwhile.
        """
        runs = [
            self._with_result(Run(planned, planned.recipe["seed_everything"] + offset, offset))
            for offset in range(plan.seeds)
            for planned in plan.arms
        ]
        left = [number for number, run in enumerate(runs) if run.result is None]
        if len(left) < len(runs):
            print(f"{len(runs) - len(left)} of {len(runs)} runs are there", flush=True)

        def begin(number: int) -> Start:
            run = runs[number]
            waiting = sum(not (runs[n].result or runs[n].error) for n in left)
            what = f"run {number + 1} of {len(runs)}: {run.planned.arm.name}, seed {run.seed}"
            print(f"{what}{self._time_left(waiting)}", flush=True)
            return self._started(run)

        def end(number: int, ended: Ended) -> None:
            runs[number] = self._ended(runs[number], ended)
            self._write(gather(plan, runs), command)

        try:
            run_all(left, self.devices, begin, end, self.inherited)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("; the same command goes on") from stop
        if not left:
            self._write(gather(plan, runs), command)
        return gather(plan, runs)

    def _with_result(self, run: Run) -> Run:
        """The run with its result, if it is there and has ended well."""
        check_run(run, self.folder.recipe(run.name))
        if not self.folder.has_ended(run.name):
            return run
        return run._replace(result=read_result(self.folder.run(run.name), run.planned.steps))

    def _time_left(self, waiting: int) -> str:
        """An estimate from the runs so far."""
        if not self._seconds:
            return ""
        minutes = statistics.fmean(self._seconds) * math.ceil(waiting / len(self.devices)) / 60
        return f" (about {minutes:.0f} min left)"

    def _started(self, run: Run) -> Start:
        """Goes on from the last checkpoint, or starts anew."""
        going_on = self._has_begun(run)
        if not going_on:
            self.folder.clear(run.name)
        options = [f"--{option}={number}" for option, number in numbers(run).items()]
        options += ["--ckpt_path=last"] if going_on else []
        return self._fit(run.planned, run.name, options)

    def _has_begun(self, run: Run) -> bool:
        """Whether there is a checkpoint to go on from, before the run's last step."""
        last = self.folder.last_checkpoint(run.name)
        try:
            return last is not None and int(read_checkpoint(last)["global_step"]) < run.planned.steps
        except UserError:  # which cannot be read
            return False

    def _ended(self, run: Run, ended: Ended) -> Run:
        """The run with its result or error, told in a line."""
        if ended.code == 0:
            self.folder.mark_ended(run.name)
            run = self._with_result(run)
        if run.result is None:
            log = self.folder.log(run.name)
            error = error_line(log, ended.code) if ended.code else "it left no validation loss in metrics.csv"
            print(f"  failed: {error} (see {log})", file=sys.stderr, flush=True)
            return run._replace(error=error)
        self._seconds.append(ended.seconds)
        if not self.keep_checkpoints:
            self.folder.drop_checkpoints(run.name)
        reached = f"{run.result.bits:.4f} bits per byte" if run.result.bits else f"{run.result.loss:.4f} nats a token"
        print(f"  {reached} after {ended.seconds / 60:.1f} min", flush=True)
        return run

    def _clocked(self, planned: Planned) -> Start:
        """A run without validations that is stopped by the clock."""
        file = self.folder.path / f"{_timing(planned)}.json"
        file.unlink(missing_ok=True)
        watch = {"class_path": "lmkit.callbacks.Stopwatch", "init_args": {"path": str(file), "seconds": SECONDS}}
        options = [f"--trainer.max_steps={ENDLESS}", f"--trainer.callbacks+={json.dumps(watch)}"]
        options += ["--trainer.limit_val_batches=0", "--trainer.enable_checkpointing=false"]
        return self._fit(planned, _timing(planned), options)

    def _fit(self, planned: Planned, name: str, options: Sequence[str]) -> Start:
        """`lmkit fit` of an arm, in this ablation's folder.

        Raises:
            UserError: a plugin has been edited since the ablation began.
        """
        if other := next(changes(self._first_code, self._code()), None):
            raise UserError(f"{other} while the ablation ran: take it back, or start anew in another folder by --out")
        kept = [f"--trainer.default_root_dir={self.folder.path / 'runs'}", f"--name={name}"]
        settings = [f"--trainer.precision={planned.recipe['trainer']['precision']}"]
        settings.append("--trainer.enable_progress_bar=false")
        command = [sys.executable, "-m", "lmkit.cli.main", "fit", *self.fit, *planned.arm.options, *settings]
        return Start([*command, *kept, *options], self.folder.log(name))

    def _write(self, outcome: Outcome, command: str) -> None:
        """Writes the tables and the picture."""
        page = report.page(outcome, command)
        self.folder.write("table.md", lambda path: path.write_text(page, encoding="utf-8"))
        self.folder.write("table.csv", lambda path: report.write_table(path, outcome))
        if outcome.effects:
            self.folder.write("effects.csv", lambda path: report.write_effects(path, outcome))
        self.folder.write("runs.csv", lambda path: report.write_runs(path, outcome))
        self.folder.write("plot.png", lambda path: draw(path, outcome))


def _timing(planned: Planned) -> str:
    """The name of the run that times an arm."""
    return f"timing-{planned.arm.number}"
