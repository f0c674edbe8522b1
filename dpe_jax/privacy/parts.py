"""The parts of an audit beside that of trajectories: pictures from gradients, and ciphertexts."""

import dataclasses
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpe_jax.algorithms import EncryptedDSGD, TernaryDSGD
from dpe_jax.fanout import Fanout
from dpe_jax.paillier.setup import Encryption
from dpe_jax.privacy.audit import Audit
from dpe_jax.privacy.findings import estimate
from dpe_jax.privacy.report import Part, table
from dpe_jax.simulation import Simulation

if TYPE_CHECKING:
    from dpe_jax.privacy.ciphertexts import Wire

PICTURES, SHOWN = 16, 8
"""Digits that are attacked, and that a figure shows."""

GALLERY = "images"

ITERATION = 0
"""The one that is attacked."""


def images(
    simulation: Simulation,
    audit: Audit,
    figures: Path | None,
    told: Callable[[str], None] = lambda _: None,
) -> Part:
    """Deep Leakage from Gradients, from what the coalition of all neighbors computes.

    The configuration's methods as they are in the first iteration, where stepsizes are largest
    beside what hides them, but gradients of handwritten digits through a small sigmoid network: an
    agent with one picture in its batch.
    Channels that are alike are attacked once. What quantization and noise hide goes by the size of
    gradients, which is these pictures' and not the configuration's.
    """
    from dpe_jax.privacy.images import draw, pictures, study
    from dpe_jax.privacy.images.coalitions import channel
    from dpe_jax.privacy.images.networks import FullyConnected
    from dpe_jax.privacy.images.observed import Channel

    kinds: tuple[study.Attack, ...] = ("plain", "informed", "rows")
    of = study.targets(FullyConnected(), pictures.digits(PICTURES, simulation.seed))
    row_sum = float(simulation.network.weights[audit.target, audit.target])
    known: dict[str, tuple[str, list[study.Outcome]]] = {}
    methods: dict[str, dict[str, str]] = {}
    for name in audit.methods:
        algorithm = simulation.algorithms[name]
        quantized = isinstance(algorithm, EncryptedDSGD | TernaryDSGD)
        for granted in (False, True) if quantized else (False,):
            seen: Channel = channel(
                algorithm,
                ITERATION,
                states=granted,
                unknown_links=0,
                row_sum=abs(row_sum),
                agent=audit.target,
            )
            view = "states granted" if granted else "coalition of all neighbors"
            key = repr(seen)
            if key not in known:
                told(f"{name}, {view}")
                found = [study.attack(of, seen, kind, seed=simulation.seed) for kind in kinds]
                known[key] = f"{name}{', states' if granted else ''}", found
            methods.setdefault(name, {})[view] = known[key][0]
    control = study.controls(of, "plain")
    best = {label: max(found, key=_success) for label, found in known.values()}
    if figures is not None:
        shown = [draw.Row("original", of.pictures.values[:SHOWN])]
        shown += [
            draw.Row(
                f"{label}:\n{outcome.attack}", outcome.found[:SHOWN], outcome.scores.mse[:SHOWN]
            )
            for label, outcome in best.items()
        ]
        title = f"Digits from one gradient at k = {ITERATION}, {of.network.describe()}"
        title = "\n".join([title, *textwrap.wrap(_alike(methods), 92, break_on_hyphens=False)])
        draw.gallery(shown, of.pictures.shape, title, figures, GALLERY)
    results = {
        "network": of.network.describe(),
        "iteration": ITERATION,
        "channels": {
            label: {outcome.attack: outcome.record() for outcome in found}
            for label, found in known.values()
        },
        "methods": methods,
        "controls": {
            "plaintext": control.plaintext.record(),
            "noise": control.noise.record(),
            "other_pictures": control.other.record(),
        },
    }
    lines = _pictures(results, best, methods)
    return Part("images", "Pictures from gradients", results, lines, _recognised(best, methods))


def ciphertexts(simulation: Simulation, key_bits: int, insecure: bool, fanout: Fanout) -> Part:
    """The distinguishing experiment and its broken schemes, lengths, transcripts and timings.

    Transcripts are of replays of the simulation's own runs, where it encrypts, and of parties with
    chosen states.
    """
    from dpe_jax.privacy import ciphertexts as checks
    from dpe_jax.privacy import recorded

    seed = simulation.seed
    found = checks.audit(key_bits, insecure_test_keys=insecure, seed=seed, fanout=fanout)
    own = recorded.wires(simulation, Encryption("fast", "short", key_bits, insecure))
    found = dataclasses.replace(found, wires=(*found.wires, *own.values()))
    rows = [["scheme", "path", "flaw", "challenges", "largest advantage", "least p", "caught"]]
    for outcome in (*found.experiments, *found.controls):
        case, played = outcome.case, outcome.found
        largest = max((a.size for a in played.advantages.values()), key=lambda size: size.value)
        rows.append(
            [
                case.scheme,
                case.path,
                case.flaw or "none",
                str(played.trials),
                f"{largest.value:.2f} [{largest.low:.2f}, {largest.high:.2f}]",
                f"{played.least_p:.2g}",
                "yes" if outcome.caught else "no",
            ]
        )
    chosen = found.wires[: len(found.wires) - len(own)]
    heard = [
        *(("chosen states", wire, "no") for wire in chosen),
        *((f"run 0 of {name}", wire, "no") for name, wire in own.items()),
        *(("chosen states", wire, "yes") for wire in found.wire_controls),
    ]
    times = [["scheme", "path", "median seconds", "advantage of a threshold"]]
    for scheme, paths in found.timings.items():
        for path, timing in paths.items():
            seconds = " / ".join(f"{median:.2e}" for median in timing.medians)
            times.append([scheme, path, seconds, estimate(timing.advantage.signed)])
    caught = sum(outcome.caught for outcome in found.controls)
    lines = (
        f"Ciphertexts of two chosen messages, keys of {key_bits} bits: "
        + ("nothing was found in sound schemes" if found.family_p >= checks.CAUGHT else "FOUND")
        + f" (p = {found.family_p:.2g} of {len(found.tests)} tests together), and {caught} of "
        f"{len(found.controls)} schemes that are broken on purpose were caught.",
        "",
        *table(rows),
        "",
        "Whole transcripts, as an eavesdropper has them: whether bytes tell if a coordinate is "
        "above its median (chosen states: above 0).",
        "",
        *table(_wires(heard)),
        "",
        "Times of encrypting either message:",
        "",
        *table(times),
        "",
        f"Lengths on the wire {'do not' if found.same_outline else 'DO'} depend on the states. "
        f"All of it {'passed' if found.passed else 'DID NOT PASS'}. Of a finite experiment: it "
        "finds carelessness, and proves nothing.",
    )
    told = [timing for paths in found.timings.values() for timing in paths.values()]
    slow = sum(timing.advantage.signed.low > 0 for timing in told)
    timed = (
        f"Times of encryption told two messages apart in {slow} of {len(told)} experiments, each "
        "with an interval of 95 %: an observation on one machine, which another run may not repeat."
    )
    most = max(outcome.found.trials for outcome in found.experiments)
    advantage = max(
        (
            one.size
            for outcome in found.experiments
            if outcome.found.trials == most
            for one in outcome.found.advantages.values()
        ),
        key=lambda size: size.value,
    )
    told_of = lines[0], timed
    return Part("ciphertexts", "Ciphertexts", found.to_dict(), lines, told_of, advantage)


def _wires(heard: Sequence[tuple[str, "Wire", str]]) -> list[list[str]]:
    """Rows of the table of transcripts, its head first."""
    heads = ["scheme", "states", "broken", "iterations", "messages", "fixed lengths", "repeats"]
    rows = [[*heads, "advantage: levels", "advantage: replies"]]
    for states, wire, broken in heard:
        attacks = [wire.attacks.get(kind) for kind in ("level", "reply")]
        rows.append(
            [
                wire.scheme,
                states,
                broken,
                str(wire.iterations),
                str(wire.messages),
                "yes" if wire.sizes.fixed else "no",
                str(wire.repeats),
                *("not tried" if one is None else estimate(one.advantage) for one in attacks),
            ]
        )
    return rows


def _success(outcome: Any) -> tuple[int, float]:
    """What the better attack has more of."""
    return outcome.recognisable.successes, outcome.record()["psnr_median"] or 0.0


def _alike(methods: dict[str, dict[str, str]]) -> str:
    """Which methods have no row of their own, since another's channel is the same."""
    told: dict[str, list[str]] = {}
    for name, views in methods.items():
        own = name in views.values()
        for label in dict.fromkeys(views.values()):
            owner = label.removesuffix(", states")
            shown = f"{name} with states" if own else name
            if owner != name and shown not in told.setdefault(owner, []):
                told[owner].append(shown)
    return "; ".join(f"as {owner}: {', '.join(names)}" for owner, names in told.items() if names)


def _pictures(
    results: dict[str, Any], best: dict[str, Any], methods: dict[str, dict[str, str]]
) -> tuple[str, ...]:
    rows = [["method", "view", "best attack", "exact", "recognisable", "PSNR dB", "SSIM"]]
    for name, views in methods.items():
        for view, label in views.items():
            outcome = best[label]
            record = outcome.record()
            rows.append(
                [
                    name,
                    view,
                    outcome.attack,
                    f"{outcome.exact.successes} of {outcome.exact.targets}",
                    f"{outcome.recognisable.successes} of {outcome.recognisable.targets}",
                    _number(record["psnr_median"], 1),
                    _number(record["ssim_median"], 2),
                ]
            )
    controls = results["controls"]
    return (
        f"Deep Leakage from Gradients on {PICTURES} handwritten digits, network "
        f"{results['network']}, one gradient of one picture at k = {results['iteration']}, through "
        "what the coalition of all neighbors computes of it. Its levels are taken as known, also "
        "where weights have private factors (how well they are, the scores of states say). Exact: "
        "MSE below 1e-6; recognisable: below 1e-2. PSNR and SSIM are medians of the attack that is "
        "best.",
        "",
        *table(rows),
        "",
        f"Controls: from the plaintext gradient {controls['plaintext']['exact']['count']} of "
        f"{PICTURES} come back exactly, from noise {controls['noise']['recognisable']['count']} "
        f"recognisably, from gradients of other pictures "
        f"{controls['other_pictures']['recognisable']['count']}.",
    )


def _recognised(best: dict[str, Any], methods: dict[str, dict[str, str]]) -> tuple[str, ...]:
    """How many pictures are recognisable, by view."""
    told: dict[str, list[str]] = {}
    for name, views in methods.items():
        for view, label in views.items():
            told.setdefault(view, []).append(f"{name} {best[label].recognisable.successes}")
    return tuple(
        f"Pictures, {view}: of {PICTURES} digits are recognisable again: {', '.join(found)}."
        for view, found in told.items()
    )


def _number(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
