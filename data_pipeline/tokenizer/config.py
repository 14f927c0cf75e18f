"""What the tokenizer stage can be told: what to train, on how much text, and what counts as dirt."""

from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError
from maxlm.tokenizer.settings import TokenizerSettings


@dataclass(frozen=True)
class TokenizerConfig(TokenizerSettings):
    sample_bytes: int = 50_000_000  # text drawn by the mixture's shares to train on
    seed: int = 0
    # What no token may be: listed phrases, addresses, markup, runs of one sign, numbers like telephones' and hashes
    dirt: tuple[Literal["listed", "url", "markup", "run", "number"], ...] = ("listed", "url", "markup", "run", "number")
    dirt_lists: tuple[str, ...] = ("zh", "en")  # of "listed": those in data_pipeline/tokenizer/lists, or text files

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample_bytes < 1:
            raise ConfigError(f"config.tokenizer.sample_bytes: {self.sample_bytes} is less than 1")
