"""Runs of every preset replayed with real encryption, and traces that must be refused."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from dpe_jax import experiment, verification
from dpe_jax.algorithms import EncryptedDSGD
from dpe_jax.config import Config, parse
from dpe_jax.fanout import Fanout, Processes
from dpe_jax.fields import wrong
from dpe_jax.folder import removed, write_json
from dpe_jax.paillier import primes
from dpe_jax.paillier.replay import Mismatch
from dpe_jax.paillier.setup import Encryption, Keys
from dpe_jax.reproduce import part
from dpe_jax.reproduce.part import Column, Made, Table, Work
from dpe_jax.results import Stored
from dpe_jax.study import processors
from dpe_jax.summary import Check

if TYPE_CHECKING:
    import xarray as xr

TITLE = "Runs verified with real encryption"
SOURCE = (
    "The protocol that the article describes, step by step: what is simulated as integers, "
    "exchanged as Paillier ciphertexts"
)

_REPORTS = "verifications.json"
_SEGMENT = 250
_CONTROL_ITERATIONS = 5

_CHANGED = {
    "level": "trace_level",
    "sum": "trace_sum",
    "state": "trace_state",
    "increment": "trace_increment",
}
"""What is changed in the copies, and how a trace calls it."""


class Settings(part.Settings):
    """Which presets, how many iterations of them, and with what keys."""

    presets: dict[str, NonNegativeInt] = Field(min_length=1)
    """How many iterations are replayed of each; 0: none, and the preset is left out."""
    lanes: list[NonNegativeInt] = Field(min_length=1)
    """Run numbers."""
    key_bits: PositiveInt
    insecure_test_keys: bool = False
    """Shorter keys than 2048 bits are refused otherwise."""
    control: str
    """One of the presets."""
    keep: bool = False
    """Whether the results with their traces stay, for `dpe verify`."""

    @property
    def iterations(self) -> dict[str, int]:
        """Of the presets that are not left out."""
        return {name: count for name, count in self.presets.items() if count}

    @model_validator(mode="after")
    def _has_the_control(self) -> "Settings":
        if self.control not in self.iterations:
            raise wrong("control", self.control, f"one of {', '.join(self.iterations)}")
        return self


class Control(NamedTuple):
    """What was said of a trace in which one number was changed by one unit."""

    changed: str
    lane: int
    iteration: int
    agent: int
    coordinate: int
    report: verification.Report

    @property
    def named(self) -> bool:
        """Whether it was refused, and the place named."""
        found = self.report.first_mismatch
        if self.report.verified or found is None:
            return False
        # A wrong increment is seen in the state that it leaves.
        quantity = "state" if self.changed == "increment" else self.changed
        place = found.lane, found.iteration, found.quantity, found.agent, found.coordinate
        return place == (self.lane, self.iteration, quantity, self.agent, self.coordinate)


def make(settings: Settings, folder: Path, work: Work) -> Made:
    """Simulate, replay, and replay changed copies."""
    encryption = Encryption(
        key_bits=settings.key_bits, insecure_test_keys=settings.insecure_test_keys
    )
    fanout = Processes(processors())
    simulating, making, replaying, controlling = work.pieces(10, 5, 20, 2)
    # Some presets have methods that break conditions on purpose: no warnings of that here.
    simulating = dataclasses.replace(simulating, log=lambda _: None)
    stored = {}
    for name, one in zip(
        settings.iterations, simulating.pieces(*[1.0] * len(settings.iterations)), strict=True
    ):
        stored[name] = one.run(_config(name, settings), folder / name).stored
    keys = _keys(stored, encryption, fanout, making)
    reports = {}
    for (name, result), one in zip(
        stored.items(), replaying.pieces(*[1.0] * len(stored)), strict=True
    ):
        reports[name] = verification.verify(
            result,
            encryption=encryption,
            segment=_segment(settings.iterations[name], result, fanout),
            fanout=fanout,
            progress=one.progress(len(result.traces())),
            keys=keys[: result.config.build().network.agents],
        )
        one.step(1, 1)
    controls = _controls(stored[settings.control], settings, encryption, keys, controlling)
    record = {name: report.to_dict() for name, report in reports.items()}
    write_json(folder / _REPORTS, record, compact=True)
    tables = [_presets(reports, stored, settings), _refused(controls, settings)]
    for name in stored if not settings.keep else ():
        removed(folder / name)
    return Made(
        [],
        tables,
        _checks(reports, controls),
        _differs(settings),
    )


def _segment(iterations: int, stored: Stored, fanout: Processes) -> int:
    """Lanes are cut into parts only where there are fewer than workers, or to go on from."""
    lanes = len(stored.config.trace) * len(stored.traces())
    parts = max(1, fanout.workers // lanes)
    return min(_SEGMENT, -(-iterations // parts))


def _config(name: str, settings: Settings) -> Config:
    """A preset's encrypted methods, traced from the beginning."""
    tables = experiment.find_config(name).model_dump(mode="json", exclude_none=True)
    methods = {
        key: table
        for key, table in tables["methods"].items()
        if table["method"] == EncryptedDSGD.__name__
    }
    return parse(
        tables
        | {
            "runs": max(settings.lanes) + 1,
            "iterations": settings.presets[name],
            "seed": settings.seed,
            "trace": list(settings.lanes),
            "methods": methods,
            "record": {"points": 2, "metrics": ["consensus_error"]},
            "checks": {},
        }
    )


def _keys(
    stored: dict[str, Stored], encryption: Encryption, fanout: Fanout, work: Work
) -> list[tuple[int, int]]:
    """Prime pairs for the agents of the largest network, which those of the others use as well."""
    count = max(result.config.build().network.agents for result in stored.values())
    keys = []
    for _, pair in fanout.results(primes.generate, [encryption.key_bits] * count):
        keys.append(pair)
        work.step(len(keys), count)
    return keys


def _controls(
    stored: Stored, settings: Settings, encryption: Encryption, keys: Keys, work: Work
) -> list[Control]:
    """Replays of copies of a trace in each of which one number is one unit off."""
    simulation = stored.config.build()
    method, trace = next(iter(stored.traces().items()))
    trace = trace.load()
    rng = np.random.default_rng(settings.seed)
    found = []
    for changed, name in _CHANGED.items():
        place = int(rng.integers(len(settings.lanes)))
        iteration = int(rng.integers(min(_CONTROL_ITERATIONS, simulation.iterations)))
        agent, coordinate = (int(rng.integers(trace.sizes[of])) for of in ("agent", "coordinate"))
        copy: xr.Dataset = trace.copy(deep=True)
        # The state that iteration k leaves is the one at moment k + 1.
        copy[name].values[place, iteration + (changed == "state"), agent, coordinate] += 1
        lane = settings.lanes[place]
        report = verification.verify_traces(
            simulation,
            {method: copy},
            encryption,
            runs=(lane,),
            iterations=iteration + 1,
            keys=keys[: simulation.network.agents],
        )
        found.append(Control(changed, lane, iteration, agent, coordinate, report))
        work.step(len(found), len(_CHANGED))
    return found


def _checks(reports: dict[str, verification.Report], controls: list[Control]) -> list[Check]:
    made = [
        Check(
            f"{name}: every integer is that of the encrypted network",
            report.verified,
            f"{report.mismatches} of {report.integers_compared:,} integers of "
            f"{report.iterations:,} iterations differ, {len(report.disagreements)} settings "
            f"disagree, {report.encryption['key_bits']}-bit keys",
        )
        for name, report in reports.items()
    ]
    for control in controls:
        what = f"{control.changed} of lane {control.lane}, iteration {control.iteration}, agent "
        what += f"{control.agent}, coordinate {control.coordinate}"
        title = f"one unit more in the {control.changed} is refused, and named"
        made.append(Check(title, control.named, f"{what}: {_said(control)}"))
    return made


def _said(control: Control) -> str:
    """What the verification said of a changed trace."""
    found: Mismatch | None = control.report.first_mismatch
    if control.report.verified or found is None:
        return "accepted" if control.report.verified else "refused without a place"
    return (
        f"refused; {found.quantity} of lane {found.lane}, iteration {found.iteration}, agent "
        f"{found.agent}, coordinate {found.coordinate}: recorded {found.expected}, replayed "
        f"{found.got}"
    )


def _presets(
    reports: dict[str, verification.Report], stored: dict[str, Stored], settings: Settings
) -> Table:
    rows = []
    for name, report in reports.items():
        network, problem = (
            getattr(stored[name].config.build(), of) for of in ("network", "problem")
        )
        ulp = [one["median_ulp"] for one in report.increments.values() if "median_ulp" in one]
        rows.append(
            {
                "preset": name,
                "agents": network.agents,
                "dim": problem.dim,
                "methods": len(report.increments),
                "lanes": len(report.lanes),
                "iterations": report.iterations,
                "integers": report.integers_compared,
                "mismatches": report.mismatches,
                "megabytes": report.ciphertext_bytes / 1e6,
                "median_ulp": max(ulp) if ulp else None,
                "verdict": "equal" if report.verified else "NOT VERIFIED",
            }
        )
    runs = ", ".join(map(str, settings.lanes))
    return Table(
        "verification",
        f"Runs {runs} of each preset under each of its encrypted methods, simulated afresh for "
        f"a few iterations and replayed by parties that hold a key pair of {settings.key_bits} "
        "bits each and share nothing but serialised ciphertexts. Iterations replayed and integers "
        "compared (levels, sums and states) are summed over lanes. U: distance of the "
        "private increments from an independent float64 gradient, the largest median over methods, "
        "in units of the last place; a dash where there is none.",
        (
            Column("preset", "preset"),
            Column("agents", "agents", digits="d"),
            Column("dim", "d", digits="d"),
            Column("methods", "methods", digits="d"),
            Column("lanes", "lanes", digits="d"),
            Column("iterations", "iterations", digits=",d"),
            Column("integers", "integers", digits=",d"),
            Column("mismatches", "differ", digits="d"),
            Column("megabytes", "ciphertexts", "MB"),
            Column("median_ulp", "U", "ulp", digits=".2g"),
            Column("verdict", "verdict"),
        ),
        rows,
    )


def _refused(controls: list[Control], settings: Settings) -> Table:
    rows = [
        {
            "changed": control.changed,
            "lane": control.lane,
            "iteration": control.iteration,
            "agent": control.agent,
            "coordinate": control.coordinate,
            "said": _said(control),
            "named": control.named,
        }
        for control in controls
    ]
    return Table(
        "controls",
        f"Negative controls: copies of a trace of {settings.control} in each of which one integer "
        "is one unit off, and what the replay says of them. A replay computes states from "
        "increments, so that a changed increment is seen in the state.",
        (
            Column("changed", "changed"),
            Column("lane", "lane", digits="d"),
            Column("iteration", "iteration", digits="d"),
            Column("agent", "agent", digits="d"),
            Column("coordinate", "coordinate", digits="d"),
            Column("said", "verification"),
            Column("named", "named?"),
        ),
        rows,
    )


def _differs(settings: Settings) -> str:
    return (
        "The article describes the protocol and tells of simulations; of a test that the two agree "
        f"it does not tell. Here {len(settings.iterations)} presets are simulated for a few "
        "iterations and replayed, all agents on one machine, with the same key pairs in all "
        "presets. Randomness of rounding and of weight factors comes from the seed in both. "
        "`dpe run PRESET --trace 0,1` and `dpe verify` do it for whole runs, with new keys."
    )
