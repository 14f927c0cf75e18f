"""Keys of a config that say what a run shows and what it looks out for."""

from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError

# What follows on an alarm: a line; the update of that batch is not applied; the block is undone and left out, and
# training goes on; the run ends before its next checkpoint.
Policy = Literal["off", "warn", "skip", "rollback", "stop"]


@dataclass(frozen=True)
class ProfileConfig:
    """A window of steps whose trace is written to RUN/profile, for xprof or TensorBoard's profile tab."""

    start: int = 0  # the first step of it, counted from the beginning of the run
    steps: int = 0  # 0: no profile

    def __post_init__(self) -> None:
        if self.start < 0 or self.steps < 0:
            raise ConfigError(f"config.profile: start={self.start} and steps={self.steps} can't be negative")


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases, beside the files of the run: pip install 'maxlm[wandb]'."""

    project: str = ""  # "": not used, and wandb is not even imported
    entity: str = ""  # team or user; "": wandb's default
    name: str = ""  # of the run; "": the name of the run's folder


@dataclass(frozen=True)
class SpikeConfig:
    """When a figure counts as a spike: that far above the median of the steps before it."""

    policy: Policy = "warn"
    window: int = 128  # figures that it is compared with; it looks from half as many on
    threshold: float = 8.0  # deviations above the median, each 1.4826 · MAD: a standard deviation where noise is normal
    in_a_row: int = 1  # so many must be too high one after the other

    def __post_init__(self) -> None:
        if self.window < 2 or self.threshold <= 0 or self.in_a_row < 1:
            raise ConfigError(
                f"config.watch: window={self.window} must be at least 2, threshold={self.threshold} above 0 and "
                f"in_a_row={self.in_a_row} at least 1"
            )
        if self.policy == "skip" and self.in_a_row > 1:
            raise ConfigError(
                f"config.watch: policy=skip decides on each update by itself; in_a_row={self.in_a_row} must be 1"
            )


@dataclass(frozen=True)
class StuckConfig:
    """When a run that does nothing counts as hanging: no step, evaluation or checkpoint ended for so long."""

    policy: Literal["off", "warn", "stop"] = "stop"  # warn: all threads' stacks, once; stop: and exit code 75
    limit_s: float = 1800.0  # compilation counts too; waiting for a block does not (config.data.wait_s)

    def __post_init__(self) -> None:
        if self.limit_s <= 0:
            raise ConfigError(f"config.watch.stuck.limit_s={self.limit_s} must be above 0; policy=off turns it off")


@dataclass(frozen=True)
class CorruptionConfig:
    """Whether devices still compute what they should: silent data corruption, which no loss shows."""

    policy: Literal["off", "warn", "stop"] = "stop"
    every: int = 1000  # steps. A gradient is worked out twice and compared bit for bit, and copies of parameters are

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"config.watch.corruption.every={self.every} must be at least 1; policy=off turns it off")


@dataclass(frozen=True)
class WatchConfig:
    """What a run looks out for. Updates that are not finite are never applied, whatever stands here."""

    loss: SpikeConfig = SpikeConfig()
    grad_norm: SpikeConfig = SpikeConfig(threshold=12.0)
    domain_loss: SpikeConfig = SpikeConfig(window=32)  # means over train.log_every steps, each domain by itself
    not_finite: Policy = "stop"  # a loss or gradient that is NaN or infinite; warn and skip are the same here
    max_not_finite: int = 10  # of the last 100 steps; beyond it the run stops in spite of warn or off
    max_skipped: int = 10  # updates that a policy "skip" left out, of the last 100; beyond it the run stops
    max_rollbacks: int = 3  # blocks that a run leaves out by itself in all its life; then it stops and says so
    corruption: CorruptionConfig = CorruptionConfig()
    stuck: StuckConfig = StuckConfig()

    def __post_init__(self) -> None:
        if self.domain_loss.policy == "skip":
            raise ConfigError("config.watch.domain_loss.policy=skip: a domain's loss is known only after many updates")
