"""Pictures come back where they must and nowhere else, and restarts are judged by distance."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from dpe_jax.errors import InputError
from dpe_jax.privacy.images import analytic, pictures, scores, study
from dpe_jax.privacy.images.matching import (
    CONVERGED,
    NON_FINITE,
    UNFINISHED,
    Matching,
    Prior,
    reconstruct,
    starts,
)
from dpe_jax.privacy.images.metrics import Cosine, Likelihood, SquaredError
from dpe_jax.privacy.images.networks import ConvNet, FullyConnected, gradients
from dpe_jax.privacy.images.observed import (
    LaplaceNoise,
    Nothing,
    RandomStepsizes,
    Shares,
    States,
    observations,
)
from dpe_jax.stepsizes import Normal, Uniform

pytestmark = pytest.mark.slow  # together over 20 s

NETWORK = FullyConnected()
TARGETS, RESTARTS = 6, 2
"""So many lanes as an audit of four digits has, here and in other tests: one program for all."""
EFFORT = study.Effort(100, RESTARTS)
KINDS: tuple[study.Attack, ...] = ("plain", "informed", "rows")


@functools.cache
def made() -> study.Targets:
    return study.targets(NETWORK, pictures.digits(TARGETS))


@functools.cache
def convolved() -> study.Targets:
    return study.targets(ConvNet(), pictures.digits(16))


@functools.cache
def plain():
    of = made()
    found = reconstruct(
        Matching(NETWORK), of.gradients[:, None], of.parameters[None], restarts=RESTARTS
    )
    return of, found


def mse(found: np.ndarray, of: study.Targets) -> np.ndarray:
    return np.mean(np.square(found - of.pictures.values), axis=1)


def test_plaintext_gradients_give_the_pictures_and_labels_back() -> None:
    of, found = plain()
    assert np.all(mse(found.pictures, of) < scores.EXACT)
    assert np.array_equal(found.labels, of.pictures.labels)
    assert np.all(found.status == CONVERGED)
    # They are the attacked pictures, not just any.
    assert np.all(mse(np.roll(found.pictures, 1, axis=0), of) > 1e-2)


def test_the_reported_distance_is_that_of_the_reported_picture() -> None:
    of, found = plain()
    assert np.array_equal(found.distance, found.distances.min(axis=1))
    assert found.distances.shape == found.restarts.shape == (TARGETS, RESTARTS)
    # With true labels the distance is that of the picture's gradient, by another path.
    back = reconstruct(
        Matching(NETWORK),
        of.gradients[:, None],
        of.parameters[None],
        restarts=RESTARTS,
        labels=np.asarray(of.pictures.labels),
    )
    again = gradients(NETWORK, of.parameters, jnp.asarray(back.pictures), jnp.asarray(back.labels))
    squares = np.sum(np.square(np.asarray(again - of.gradients)), axis=1)
    relative = squares / np.sum(np.square(np.asarray(of.gradients)), axis=1)
    assert np.allclose(relative, back.distance, rtol=1e-3, atol=1e-20)
    assert np.all(mse(back.pictures, of) < scores.EXACT)


def test_a_wrong_label_does_not_pass_for_the_right_one() -> None:
    of = made()
    wrong = reconstruct(
        Matching(NETWORK, iterations=60),
        of.gradients[:, None],
        of.parameters[None],
        restarts=RESTARTS,
        labels=(np.asarray(of.pictures.labels) + 1) % 10,
    )
    assert np.all(wrong.distance > 1e-2)
    assert np.all(wrong.status != CONVERGED)


def test_a_lane_that_fails_harms_no_other() -> None:
    of, found = plain()
    broken = np.array(of.gradients)
    broken[3, 17] = np.nan
    result = reconstruct(
        Matching(NETWORK), jnp.asarray(broken)[:, None], of.parameters[None], restarts=RESTARTS
    )
    assert result.status[3] == NON_FINITE
    assert np.all(result.restarts[3] == NON_FINITE)
    assert np.all(np.isnan(result.pictures[3]))
    assert np.isnan(result.distance[3])
    others = np.arange(TARGETS) != 3
    assert np.array_equal(result.pictures[others], found.pictures[others])
    assert np.array_equal(result.restarts[others], found.restarts[others])


def test_a_restart_is_chosen_without_the_truth() -> None:
    # Too few iterations to converge: the restarts differ, and the nearest gradient is taken.
    of = made()
    result = reconstruct(
        Matching(NETWORK, iterations=12),
        of.gradients[:, None],
        of.parameters[None],
        restarts=RESTARTS,
    )
    assert np.all(result.iterations <= 12)
    assert np.all(result.restarts == UNFINISHED)
    assert np.all(result.distances[:, 0] != result.distances[:, 1])
    assert np.array_equal(result.distance, result.distances.min(axis=1))


def test_starts_are_a_targets_own() -> None:
    many, alone = starts(NETWORK, 3, 2, 5), starts(NETWORK, 1, 2, 5)
    for those, these in zip(many, alone, strict=True):
        assert np.array_equal(those[:2], these)
        assert not np.any(those[2:4] == these)
    assert not np.any(starts(NETWORK, 1, 2, 6)[0] == alone[0])


def test_agents_with_parameters_of_their_own_at_two_iterations() -> None:
    chosen = pictures.digits(3)
    vectors = np.stack([[NETWORK.parameters(10 * i + t) for t in (0, 1)] for i in range(3)])
    values, labels = jnp.asarray(chosen.values), jnp.asarray(chosen.labels)
    seen = jnp.stack(
        [
            jnp.stack([gradients(NETWORK, jnp.asarray(v), values, labels)[i] for v in vectors[i]])
            for i in range(3)
        ]
    )
    found = reconstruct(Matching(NETWORK), seen, jnp.asarray(vectors))
    assert np.all(np.mean(np.square(found.pictures - chosen.values), axis=1) < scores.EXACT)
    # With another agent's parameters they do not come back.
    mixed = reconstruct(Matching(NETWORK, iterations=40), seen, jnp.asarray(vectors[::-1]))
    wrong = np.mean(np.square(mixed.pictures - chosen.values), axis=1)
    assert np.all(wrong[[0, 2]] > scores.EXACT)
    assert wrong[1] < scores.EXACT


SLOW_COSINE = pytest.param("cosine", marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", ["plain", "idlg", SLOW_COSINE, "informed", "rows"])
def test_every_attack_has_both_controls(kind: study.Attack) -> None:
    of = made()
    found = study.controls(of, kind, effort=EFFORT)
    for outcome in (found.noise, found.other):
        assert outcome.recognisable.successes == 0
        assert outcome.failed == 0
        assert np.median(outcome.scores.psnr) < np.median(found.chance.psnr) + 1.5
    assert found.plaintext.recognisable.successes == TARGETS
    # By direction alone, and after the floor of a likelihood, they are near rather than exact.
    least = TARGETS if kind in ("plain", "idlg", "rows") else TARGETS - 1
    assert found.plaintext.exact.successes >= least
    labels = found.plaintext.labels
    assert labels is None if kind == "rows" else labels is not None and labels.successes == TARGETS


def test_multipliers_stop_plain_matching_but_not_one_who_knows_their_law() -> None:
    of = made()
    for multipliers in (Uniform(1.0), Uniform(4.0)):
        seen = RandomStepsizes(multipliers)
        naive, informed, rows = (study.attack(of, seen, k, effort=EFFORT) for k in KINDS)
        assert naive.recognisable.successes <= 1
        assert naive.exact.successes == informed.exact.successes == 0
        assert informed.recognisable.successes >= TARGETS - 1
        assert rows.recognisable.successes >= TARGETS - 1
    # The same attacks on additive noise of the gradient's own size find nothing.
    size = float(np.sqrt(np.mean(np.square(np.asarray(of.gradients)))))
    for kind in KINDS:
        hidden = study.attack(of, LaplaceNoise((5 * size,)), kind, effort=EFFORT)
        assert hidden.recognisable.successes == 0


def test_labels_by_sign_and_by_size() -> None:
    of = study.targets(FullyConnected(), pictures.digits(64))

    def right(channel, rule) -> int:
        seen = observations(channel, of.gradients, of.parameters, seed=3)
        return int(np.sum(np.asarray(rule(of.network, seen)) == of.pictures.labels))

    by_sign, by_size = analytic.labels_by_sign, analytic.labels_by_size
    for rule in (by_sign, by_size, analytic.labels_by_sum):
        assert right(States(0.1), rule) == 64
        # Positive multipliers leave signs and, on average, sizes.
        assert right(RandomStepsizes(Uniform(1.0)), rule) == 64
        # Chance is 6.4 of 64; 18 or more would happen once in 50 000 tries.
        assert right(Nothing(1.0), rule) < 18
    signed = RandomStepsizes(Normal(30.0))
    assert right(signed, by_sign) < 25
    assert right(signed, by_size) >= 60
    # Additive noise: sums are the better.
    assert right(Shares(1.0), analytic.labels_by_sum) > right(Shares(1.0), by_size) + 8


def test_labels_through_convolutions() -> None:
    of = convolved()
    seen = observations(RandomStepsizes(Uniform(1.0)), of.gradients, of.parameters)
    for rule in (analytic.labels_by_sign, analytic.labels_by_size):
        assert np.array_equal(rule(of.network, seen), of.pictures.labels)


def test_the_first_layer_gives_the_picture_at_once() -> None:
    of = study.targets(FullyConnected(), pictures.digits(16))

    def psnr(rule, channel, times: int = 1) -> float:
        seen = observations(channel, of.gradients, of.parameters, times=times, seed=1)
        found = np.asarray(rule(of.network, seen))
        return float(np.median(scores.score(found, of.pictures.values, (8, 8, 1)).psnr))

    rules = (
        analytic.pictures_by_largest,
        analytic.pictures_by_median,
        analytic.pictures_by_least_squares,
        analytic.pictures_by_size,
    )
    for rule in rules:
        assert psnr(rule, States(0.1)) > 200
        assert psnr(rule, Nothing(1.0)) < 12
    positive, signed = RandomStepsizes(Uniform(1.0)), RandomStepsizes(Uniform(4.0))
    largest, median, _, size = rules
    assert psnr(largest, positive) < 16
    assert psnr(median, positive) > 22
    # Signs that are at random stop the median of ratios, but not sizes.
    assert psnr(median, signed) < 12
    assert psnr(size, positive) > 22
    assert psnr(size, signed) > 22
    assert psnr(size, positive, times=16) > psnr(size, positive) + 6
    # A share that is not known hides all of it, unless the coalition has it.
    assert psnr(size, Shares(1.0)) < 12
    assert psnr(size, Shares(1.0, links=0)) > 200


def test_a_step_that_shows_no_change_of_a_bias_gives_no_ratio() -> None:
    of = made()
    seen = np.array(of.gradients)[:, None]
    begin = NETWORK.hidden * NETWORK.pixels
    seen[0, 0, begin : begin + 5] = 0.0
    found = np.asarray(analytic.pictures_by_median(NETWORK, jnp.asarray(seen)))
    assert np.all(mse(found, of) < scores.EXACT)


def test_metrics_are_zero_or_least_at_the_truth() -> None:
    rng = np.random.default_rng(1)
    g = jnp.asarray(rng.normal(size=(2, 50)))
    floor = jnp.asarray(0.01)
    assert float(SquaredError()(g, g, floor)) == 0
    assert abs(float(Cosine()(3 * g, g, floor))) < 1e-15
    assert np.isclose(float(SquaredError()(2 * g, g, floor)), 1.0)
    # Normal densities, one at a time, in units of the mean square of what was observed.
    o = jnp.asarray(rng.normal(size=(2, 50)))
    metric, size = Likelihood(0.5, 0.2), float(jnp.mean(o**2))
    v = 0.5 * np.asarray(g) ** 2 + 0.04 + 1e-4 * size
    expected = np.mean((np.asarray(g) - np.asarray(o)) ** 2 / v + np.log(v / size))
    assert np.isclose(float(metric(g, o, floor)), expected)
    prior = Prior(np.zeros(3), np.full(3, 2.0))
    assert np.isclose(float(prior.penalty(jnp.asarray([1.0, 2.0, 3.0]))), 7.0)


def test_refusals() -> None:
    of = made()
    with pytest.raises(InputError, match=r"^restarts = 0: "):
        reconstruct(Matching(NETWORK), of.gradients[:, None], of.parameters[None], restarts=0)
    with pytest.raises(InputError, match=r"^observed = \(2, 1, 7\): expected gradients of 4810 "):
        reconstruct(Matching(NETWORK), jnp.zeros((2, 1, 7)), jnp.zeros((1, 7)))
    with pytest.raises(InputError, match=r"^memory = 0: "):
        Matching(NETWORK, memory=0)
    with pytest.raises(InputError, match=r"^pictures = \(8, 8, 1\): "):
        study.targets(ConvNet((32, 32, 3)), pictures.digits(1))
    with pytest.raises(InputError, match=r"^variance = 4.0: expected a number from 0 to 3.771$"):
        study.multipliers("lognormal", 4.0)
    with pytest.raises(InputError, match=r"^kind = 'rows': "):
        study.attack(convolved(), States(1.0), "rows")


@pytest.mark.parametrize("family", ["uniform", "lognormal", "normal"])
def test_families_have_the_variance_that_is_asked_for(family: study.Family) -> None:
    for variance in (0.0, 0.2, 3.0):
        assert np.isclose(float(study.multipliers(family, variance).variance), variance)


@pytest.mark.slow
def test_many_digits_through_both_networks() -> None:
    dense = study.targets(NETWORK, pictures.digits(TARGETS * RESTARTS))
    for of, least in ((dense, 12), (convolved(), 13)):
        outcome = study.attack(of, States(1.0), effort=study.Effort(300, 1))
        assert outcome.exact.successes >= least


@pytest.mark.slow
def test_a_patch_of_a_photograph() -> None:
    # Not every patch comes back from one start; this one does.
    chosen = pictures.patches(2)
    chosen = chosen._replace(values=chosen.values[1:], labels=chosen.labels[1:])
    of = study.targets(ConvNet((32, 32, 3)), chosen)
    outcome = study.attack(of, States(1.0), effort=study.Effort(800, 1, 150))
    assert outcome.scores.psnr.max() > 40
    # As many steps remembered, so that it is the same program.
    hidden = study.attack(of, Shares(1.0), effort=study.Effort(60, 1, 150))
    assert hidden.recognisable.successes == 0
