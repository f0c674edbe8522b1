"""What channels show is what messages of the engine's own steps show."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from baselines import (
    EXCHANGE,
    FUNCTION,
    LANES,
    QUIET,
    ROW_SUMS,
    STATE,
    TAILORED,
    TERNARY,
    WEIGHTS,
    X0,
)
from common import NETWORK
from methods import draws, row_of, start, step

from dpe_jax.algorithms import (
    Algorithm,
    CentralizedSGD,
    ConventionalDSGD,
    EncryptedDSGD,
    GeometricDP,
)
from dpe_jax.errors import InputError
from dpe_jax.lattice import FRACTION_BITS
from dpe_jax.privacy.images.coalitions import channel
from dpe_jax.privacy.images.networks import FullyConnected, gradients
from dpe_jax.privacy.images.observed import (
    Channel,
    LaplaceNoise,
    Nothing,
    RandomStepsizes,
    Shares,
    States,
    TernaryMessages,
    observations,
)
from dpe_jax.privacy.images.pictures import digits
from dpe_jax.schedules import PowerLaw
from dpe_jax.stepsizes import LogNormal, Normal, Uniform

pytestmark = pytest.mark.slow  # together over 20 s

STEPSIZE, GAMMA = PowerLaw(0.5, 0.9), PowerLaw(0.7, 0.6)
DELTA = 2.0**-6
# A box that is not reached: a projection would add to what is seen.
WIDE = GeometricDP(0.4, 0.8, 0.7, 0.9, 50.0, 4.0)
ENCRYPTED = EncryptedDSGD(GAMMA, STEPSIZE, DELTA, Uniform(1.0))


def two_steps(method: Algorithm) -> tuple[Any, Any]:
    """What the engine leaves of iterations 0 and 1."""
    state = start(method, jnp.asarray(X0), EXCHANGE, draws(0, LANES))
    steps = []
    for k in (0, 1):
        state, taken = step(
            method, state, QUIET, EXCHANGE, draws(k + 1, LANES), row_of(method, NETWORK, k)
        )
        steps.append(taken)
    return steps[0], steps[1]


def errors(method: Algorithm) -> tuple[np.ndarray, np.ndarray]:
    """A coalition's estimate minus g, from messages and public settings alone; and g."""
    first, second = two_steps(method)
    before, after = np.asarray(first.message), np.asarray(second.message)
    row = row_of(method, NETWORK, 0)
    # Σ_j w_ij (message_j − message_i), which everyone who has the messages can compute.
    sums = np.einsum("ij,jdl->idl", WEIGHTS, before) - ROW_SUMS[:, None, None] * before
    if isinstance(method, EncryptedDSGD):
        stepsize = float(STEPSIZE.values(np.array([0]))[0])
        gamma = float(GAMMA.values(np.array([0]))[0])
        seen = DELTA * (before + gamma * sums - after) / stepsize
        g = np.asarray(QUIET.gradient(first.position, draws(1, LANES)))
        return seen - g, g
    stepsize = float(row.stepsize)
    g = np.asarray(first.increment) / stepsize
    gamma = float(row.gamma) if hasattr(row, "gamma") else 1.0
    return (before + gamma * sums - after) / stepsize - g, g


def known_variance(method: Algorithm) -> np.ndarray:
    """Of each element, as the channel says, with each agent's own links."""
    rows = []
    for agent in range(5):
        made = channel(
            method,
            0,
            unknown_links=int(np.sum(WEIGHTS[agent] > 0)),
            row_sum=float(ROW_SUMS[agent]),
            agent=agent,
        )
        rows.append(np.broadcast_to(made.knowledge(X0[agent]).noise, 2))
    return np.square(np.array(rows))


@pytest.mark.parametrize("method", [STATE, WIDE, TAILORED], ids=lambda m: type(m).__name__)
def test_noise_is_that_of_the_engines_messages(method: Algorithm) -> None:
    error, _ = errors(method)
    spread = error.std(axis=-1) / np.sqrt(LANES)
    # Two Laplace words at times 0 and 1, and the shares of either: nothing else is left.
    assert np.all(np.abs(error.mean(axis=-1)) < 5 * spread)
    squares = np.square(error)
    band = 5 * squares.std(axis=-1) / np.sqrt(LANES)
    expected = known_variance(method)
    assert np.all(np.abs(squares.mean(axis=-1) - expected) < band)
    for factor in (2 / 3, 1.5):
        assert not np.any(np.abs(squares.mean(axis=-1) - factor * expected) < band)


def test_shared_functions_are_what_the_engine_adds() -> None:
    # The increment has the mask in it: what is seen is g + p, and p has the channel's variance.
    first, _ = two_steps(FUNCTION)
    stepsize = float(row_of(FUNCTION, NETWORK, 0).stepsize)
    p = np.asarray(first.increment) / stepsize - np.asarray(
        QUIET.gradient(first.position, draws(1, LANES))
    )
    squares = np.square(p)
    band = 5 * squares.std(axis=-1) / np.sqrt(LANES)
    assert np.all(np.abs(squares.mean(axis=-1) - known_variance(FUNCTION)) < band)
    assert not np.any(np.abs(squares.mean(axis=-1) - 1.5 * known_variance(FUNCTION)) < band)


def test_ternary_messages_of_the_engine() -> None:
    error, g = errors(TERNARY)
    first, second = two_steps(TERNARY)
    before, after = np.asarray(first.position), np.asarray(second.position)
    stepsize = float(row_of(TERNARY, NETWORK, 0).stepsize)
    r = TERNARY.range
    one, two = (np.abs(x) * (r - np.abs(x)) for x in (before, after))
    expected = (one + two).mean(axis=-1) / stepsize**2
    squares = np.square(error)
    band = 5 * squares.std(axis=-1) / np.sqrt(LANES)
    assert np.all(np.abs(squares.mean(axis=-1) - expected) < band)
    # The channel knows the first of the two exactly, and takes the second for the same.
    known = np.square(TernaryMessages(r, stepsize).knowledge(X0[0]).noise)
    assert np.allclose(known, 2 * one[0, :, 0] / stepsize**2)
    assert np.all(np.abs(error.mean(axis=-1)) < 5 * error.std(axis=-1) / np.sqrt(LANES))
    assert g.shape == (5, 2, LANES)


def test_levels_of_the_engine_show_multipliers_and_rounding() -> None:
    error, g = errors(ENCRYPTED)
    stepsize = float(STEPSIZE.values(np.array([0]))[0])
    assert np.all(np.abs(error.mean(axis=-1)) < 5 * error.std(axis=-1) / np.sqrt(LANES))
    fraction = X0 / DELTA - np.floor(X0 / DELTA)
    rounding = (fraction * (1 - fraction) + 1 / 6) * (DELTA / stepsize) ** 2
    squares = np.square(error)
    band = 5 * squares.std(axis=-1) / np.sqrt(LANES)
    expected = np.square(g[..., 0]) / 3 + rounding
    assert np.all(np.abs(squares.mean(axis=-1) - expected) < band)
    assert not np.any(np.abs(squares.mean(axis=-1) - 1.5 * expected) < band)
    known = channel(ENCRYPTED, 0).knowledge(X0[0])
    assert np.isclose(known.multiplier_variance, 1 / 3)
    # ∫ f (1 − f) = 1/6, for each of both roundings.
    assert np.isclose(known.noise, np.sqrt(1 / 3) * DELTA / stepsize)
    assert FRACTION_BITS == 32


@pytest.fixture(scope="module")
def target() -> tuple[Any, Any]:
    network, chosen = FullyConnected(), digits(16)
    vector = jnp.asarray(network.parameters(0))
    found = gradients(network, vector, jnp.asarray(chosen.values), jnp.asarray(chosen.labels))
    return vector, found


CHANNELS: dict[str, Channel] = {
    "ternary": TernaryMessages(16.0, 0.25),
    "function": Shares(0.5, 2),
    "state": Shares(0.5, 1, afresh=True),
    "geometric": LaplaceNoise((0.1,)),
    "tailored": LaplaceNoise((0.05, 0.1)),
    "uniform": RandomStepsizes(Uniform(1.0)),
    "signed": RandomStepsizes(Uniform(4.0)),
    "normal": RandomStepsizes(Normal(2.0)),
    "lognormal": RandomStepsizes(LogNormal(0.5)),
    "levels": RandomStepsizes(Uniform(1.0), 0.25, 2.0**-3),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_has_the_law_that_it_says(name: str, target: tuple[Any, Any]) -> None:
    vector, g = target
    seen = CHANNELS[name]
    known = seen.knowledge(np.asarray(vector))
    error = np.asarray(observations(seen, g, vector, times=2, seed=4)[:, 1] - g)
    expected = known.multiplier_variance * np.square(np.asarray(g)) + np.square(known.noise)
    # Of coordinates in the units of their own noise; where nothing is hidden nothing is there.
    apart = expected > 1e-12
    assert np.all(error[~apart] == 0) or np.abs(error[~apart]).max() < 1e-5
    ratio = np.square(error[apart]) / expected[apart]
    band = 5 * ratio.std() / np.sqrt(ratio.size)
    assert abs(ratio.mean() - 1) < band + 0.02
    assert abs(ratio.mean() - 1.5) > band + 0.02
    assert abs(ratio.mean() - 2 / 3) > band + 0.02
    mean = (error[apart] / np.sqrt(expected[apart])).mean()
    assert abs(mean) < 5 / np.sqrt(apart.sum())


def test_states_in_plaintext_show_the_gradient_to_rounding(target: tuple[Any, Any]) -> None:
    vector, g = target
    for stepsize in (1.0, 1e-3):
        seen = np.asarray(observations(States(stepsize), g, vector)[:, 0])
        # Two roundings of x, |x| ≤ 1, over λ: there, and no more than that.
        assert 0 < np.abs(seen - g).max() <= 2.0**-52 / stepsize
    everyone = observations(Shares(1.0, 0), g, vector)[:, 0]
    assert np.array_equal(everyone, g)


def test_times_and_seeds_draw_afresh_except_shared_functions(target: tuple[Any, Any]) -> None:
    vector, g = target
    for seen, same in ((Shares(1.0), True), (Shares(1.0, afresh=True), False)):
        two = np.asarray(observations(seen, g, vector, times=2))
        assert np.array_equal(two[:, 0], two[:, 1]) == same
    noise = np.asarray(observations(Nothing(0.1), g, vector, seed=1))
    assert not np.any(noise == np.asarray(observations(Nothing(0.1), g, vector, seed=2)))
    # A target's draws do not depend on how many others there are.
    assert np.array_equal(noise[:3], observations(Nothing(0.1), g[:3], vector, seed=1))
    correlation = np.corrcoef(noise.ravel(), np.asarray(g).ravel())[0, 1]
    assert abs(correlation) < 5 / np.sqrt(noise.size)


def test_clipping_is_known(target: tuple[Any, Any]) -> None:
    vector, g = target
    seen = LaplaceNoise((1e-9,), clip=0.5)
    assert seen.knowledge(np.asarray(vector)).clip == 0.5
    norms = np.linalg.norm(np.asarray(observations(seen, g, vector)[:, 0]), axis=1)
    assert np.allclose(norms, np.minimum(np.linalg.norm(np.asarray(g), axis=1), 0.5), atol=1e-6)
    made = channel(GeometricDP(0.4, 0.8, 0.7, 0.9, 1.1, 4.0, clip=True), 3)
    assert isinstance(made, LaplaceNoise)
    assert made.clip == 4.0
    assert np.isclose(made.scales[0], 0.7 * 0.9**4 / (0.4 * 0.8**3))


def test_which_channel_a_method_has() -> None:
    assert channel(ConventionalDSGD(0.5), 4) == States(0.5)
    assert channel(TERNARY, 0, states=True) == States(0.5)
    assert isinstance(channel(TERNARY, 0), TernaryMessages)
    unequal = EncryptedDSGD(GAMMA, STEPSIZE, means=(1.0, 3.0, 1.0, 1.0, 1.0))
    made = channel(unequal, 0, states=True, agent=1)
    assert isinstance(made, RandomStepsizes)
    assert (made.stepsize, made.delta) == (1.5, 0.0)
    with pytest.raises(InputError, match=r"^method = 'CentralizedSGD': expected a decentralized"):
        channel(CentralizedSGD(0.5), 0)
    with pytest.raises(InputError, match=r"^iteration = -1: "):
        channel(TERNARY, -1)
    with pytest.raises(InputError, match=r"^times = 0: "):
        observations(States(1.0), jnp.zeros((1, 2)), jnp.zeros(2), times=0)
