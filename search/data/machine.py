"""Simulated machines with known faults: the embedded data set, made from a seed, no file needed.

**These data are simulated**; no real machine was measured. A load that changes at random
drives the flow (after a lag), the temperature (through a slow response) and the current; the
pressure hunts around its set point, since a controller holds it. Every machine has offsets and
gains of its own, and all sensors are noisy. Four faults come in episodes:

* ``late_flow``: a sticking valve, so the flow follows the load after a longer lag;
* ``slow_hunting``: the pressure hunts with a longer period;
* ``reversed_cooling``: the temperature falls where it used to rise;
* ``lost_current``: the current follows a load of its own, as if a phase were swapped.

**Why a linear model cannot solve it.** Each fault changes only how values belong together:
load and flow across steps, load and temperature, load and current, one step of the pressure
and another. Every channel alone keeps its mean, its variance and its whole distribution, and
all signals are symmetric about their offset: to each window there is one equally likely of the
same class with all signs swapped. So every weighted sum of a window's values has the same mean
in all classes, and so have the mean, spread, minimum and maximum of each channel. A product of
two values, summed over time, tells the faults apart, and in the noise it takes many steps:
that is why the sequence length matters.
"""

from typing import Any

import numpy as np

from search.config import Kind, MachineData, TaskConfig
from search.data.recordings import Recordings
from search.data.sequences import Array
from search.errors import ConfigError

CHANNELS = ("load", "flow", "pressure", "temperature", "current")
CLASSES = ("normal", "late_flow", "slow_hunting", "reversed_cooling", "lost_current")
EVERY_CHANNEL = tuple(range(len(CHANNELS)))
OFFERED: tuple[Kind, ...] = ("classification", "anomaly", "forecasting")
NORMAL_SHARE = 1 / 3
"""Share of normal episodes; the faults share the others equally."""
HISTORY = 100
"""Steps of an episode before its first target: with fewer the label could not be known."""
EPISODE = 150
"""Steps of one episode, where the recording is long enough for several."""
LAGS = (4, 10)
"""Steps from the load to the flow: normal, and with late_flow."""
PERIODS = ((14.0, 20.0), (28.0, 40.0))
"""Shortest and longest swing of the pressure, in steps: normal, and with slow_hunting."""
SPELLS, SPELL_SHARE = (40.0, 70.0), 0.35
"""Steps from one spell of the other faults to the next, and the share that a spell takes."""
MEMORY = 3.0
"""Steps over which the load stays alike."""
WARMING = 6
"""Steps from the load to the temperature."""
NOISE = 0.3
"""Standard deviation of each sensor's noise, where each signal's is 1."""
GAIN_SPREAD, OFFSET_SPREAD = 0.15, 0.5
"""Standard deviations of a machine's log gains and of its offsets."""


def load_machine(config: MachineData, task: TaskConfig) -> Recordings:
    """Simulate the machines.

    A class or flag is known from an episode's ``HISTORY``-th step on; before, the truth is -1,
    and no target is placed there.

    Args:
        config: How many machines, how long, how often a target, and the seed.
        task: What is predicted: the class, whether there is a fault, or all sensors.

    Returns:
        One recording and one group a machine; the same seed gives the same bytes.

    Raises:
        ConfigError: If these data hold no truth for the kind of task.
    """
    if task.kind not in OFFERED:
        raise ConfigError(
            f"task.kind must be one that data.source='machine' offers: {', '.join(OFFERED)}. "
            f"Received: kind={task.kind!r}."
        )
    rng = np.random.default_rng(config.simulation_seed)
    edges = np.linspace(0, config.rows, max(1, config.rows // EPISODE) + 1).astype(int)
    faults = _draw_faults(rng, config.machines, len(edges) - 1)
    states = np.repeat(faults, np.diff(edges), axis=1)
    rows = _measure(rng, _simulate(rng, states, edges)).reshape(-1, len(CHANNELS))
    truths: dict[str, Any] = {
        "truths": rows.copy(),
        "variables": CHANNELS,
        "target_channels": EVERY_CHANNEL,
    }
    if task.kind != "forecasting":
        truths = _judge(states, edges, flags=task.kind == "anomaly")
    return Recordings(
        description=(
            f"Simulated, not measured: {config.machines} machines of {config.rows} steps with "
            f"{len(CHANNELS)} sensors and {len(CLASSES) - 1} kinds of fault."
        ),
        rows=rows,
        starts=np.arange(config.machines + 1) * config.rows,
        names=tuple(f"machine {number}" for number in range(config.machines)),
        groups=np.arange(config.machines),
        channels=CHANNELS,
        stride=config.stride,
        **truths,
    )


def _judge(states: Array, edges: Array, *, flags: bool) -> dict[str, Any]:
    """Give each row its class, or the flag of a fault, once an episode has shown it long enough.

    Args:
        states: The class number at each step, of shape (machines, steps).
        edges: The steps that episodes begin at, and the end, of shape (episodes + 1,).
        flags: Whether faults are told from normal alone.

    Returns:
        The truths of shape (machines * steps,), int64, and the names of the classes.
    """
    age = np.arange(edges[-1]) - np.repeat(edges[:-1], np.diff(edges))
    truths = np.where(age >= HISTORY - 1, np.minimum(states, 1) if flags else states, -1)
    names = ("normal", "anomalous") if flags else CLASSES
    return {"truths": truths.ravel().astype(np.int64), "classes": names}


def _draw_faults(rng: np.random.Generator, machines: int, episodes: int) -> Array:
    """Deal class numbers of shape (machines, episodes), in the shares asked for."""
    count = machines * episodes
    deck = np.arange(count) % (len(CLASSES) - 1) + 1
    deck[: round(NORMAL_SHARE * count)] = 0
    return rng.permutation(deck).reshape(machines, episodes)


def _simulate(rng: np.random.Generator, states: Array, edges: Array) -> Array:
    """Make signals of variance 1.

    Args:
        rng: The source of randomness.
        states: The class number at each step, of shape (machines, steps).
        edges: The steps that episodes begin at, and the end, of shape (episodes + 1,).

    Returns:
        Signals of shape (machines, steps, channels).
    """
    machines, steps = states.shape
    past = max(*LAGS, WARMING)
    load = _wander(rng, (machines, past + steps))
    now = past + np.arange(steps)
    showing = np.where(_turns(rng, edges, machines, SPELLS) % 1 < SPELL_SHARE, states, 0)
    lags = np.where(showing == CLASSES.index("late_flow"), LAGS[1], LAGS[0])
    flow = np.take_along_axis(load, now - lags, axis=1)
    warmth = load[:, now - WARMING]
    temperature = np.where(showing == CLASSES.index("reversed_cooling"), -warmth, warmth)
    other = _wander(rng, states.shape)
    current = np.where(showing == CLASSES.index("lost_current"), other, load[:, past:])
    swings = np.where(
        states == CLASSES.index("slow_hunting"),
        _turns(rng, edges, machines, PERIODS[1]),
        _turns(rng, edges, machines, PERIODS[0]),
    )
    pressure = np.sqrt(2) * np.sin(2 * np.pi * swings)
    return np.stack([load[:, past:], flow, pressure, temperature, current], axis=-1)


def _wander(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Draw Gaussian signals of variance 1 that stay alike over some steps, by a spectrum."""
    frequencies = np.fft.rfftfreq(shape[1])
    weights = 1 / (1 + (2 * np.pi * frequencies * MEMORY) ** 2)
    weights[0] = 0  # no recording is on load more than another
    signal = np.fft.irfft(np.fft.rfft(rng.standard_normal(shape)) * weights, n=shape[1])
    return np.asarray(signal / signal.std())


def _turns(
    rng: np.random.Generator, edges: Array, machines: int, periods: tuple[float, float]
) -> Array:
    """Count the turns of something that recurs, with a period and phase of each episode's own.

    Args:
        rng: The source of randomness.
        edges: The steps that episodes begin at, and the end, of shape (episodes + 1,).
        machines: How many machines.
        periods: The shortest and the longest period, in steps.

    Returns:
        Turns of shape (machines, steps), with fractions.
    """
    shape, lengths = (machines, len(edges) - 1), np.diff(edges)
    rates = np.repeat(1 / rng.uniform(*periods, shape), lengths, axis=1)
    phases = np.repeat(rng.uniform(0, 1, shape), lengths, axis=1)
    return np.asarray(phases + rates * np.arange(edges[-1]))


def _measure(rng: np.random.Generator, signals: Array) -> Array:
    """Add each sensor's noise and each machine's gains and offsets, in float32."""
    machines, _, channels = signals.shape
    noisy = signals + NOISE * rng.standard_normal(signals.shape)
    gains = np.exp(GAIN_SPREAD * rng.standard_normal((machines, 1, channels)))
    offsets = OFFSET_SPREAD * rng.standard_normal((machines, 1, channels))
    return np.asarray(noisy * gains + offsets, dtype=np.float32)
