"""Everything the data process can be told, with its defaults. Sizes in tokens or characters as named."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import ml_collections

from data_pipeline.mix.config import MixtureConfig, OrderConfig, SelectConfig, StageConfig, check_stages
from data_pipeline.produce.config import ProduceConfig, check_row_lengths
from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.config import config_dict
from maxlm.errors import ConfigError, did_you_mean


def _in_unit_interval(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{key}: {value} is outside [0, 1]")


@dataclass(frozen=True)
class SourceConfig:
    """One place that raw text comes from."""

    path: str = "machine"  # a folder, a file, a glob; "machine": the text that every machine with Python has
    name: str = ""  # name of the source in reports; "": made from the path
    domain: str = "auto"  # "auto": code by file name, else the language ("zh", "en", "other")
    # Rows: the column of the text (several, with commas between, are joined); "": text, content or completion
    text_key: str = ""
    # Rows: what other columns are for, as name -> column: text (in place of text_key), those of conversations (prompt
    # and completion, messages, chosen, rejected: ingest/chats.py), source, domain, language, and any name in the
    # metadata; "a.b" is b within a
    columns: dict[str, str] = field(default_factory=dict)
    metadata: tuple[str, ...] = ("*",)  # which of the other columns are kept beside the text; "*": all plain values
    split: str = ""  # text files: "": one document a file; "blank_lines": one a paragraph; else what stands between two
    encoding: str = ""  # Python's name of it; "": UTF-8, or what a byte-order mark says, or what is beyond doubt
    # How its files are read; "auto": as their names say
    format: Literal["auto", "text", "code", "jsonl", "json", "csv", "parquet", "html", "warc"] = "auto"
    max_row_bytes: int = 1 << 26  # a longer text or line is set aside


@dataclass(frozen=True)
class ConversationsConfig:
    """Rows that were said in turns: prompts and completions, chats, pairs of answers (ingest/chats.py)."""

    # Of chats: a file with a template in Hugging Face's format, or "chatml"; "": the one that the tokenizer brings,
    # else ChatML. It is kept beside the tokenizer.
    template: str = ""
    learn: Literal["all", "last"] = "all"  # which of the assistant's turns are learnt
    too_long: Literal["drop", "cut"] = "drop"  # one longer than a row is left out, or ends where the row does


@dataclass(frozen=True)
class OperatorConfig:
    """One operator of a recipe: its name in data_pipeline/operators/table.py and its parameters."""

    name: str
    domains: tuple[str, ...] = ()  # the domains that it looks at; (): all
    params: dict[str, Any] = field(default_factory=dict)
    action: Literal["drop", "mark"] = "drop"  # "mark": a filter notes its reason in the document's marks instead
    branch: str = ""  # steps of one name are a recipe that only marks, under that name; its edits stay in it


@dataclass(frozen=True)
class SegmentsConfig:
    """Lines, paragraphs or sentences that many documents share (navigation, banners, headers) are cut from them."""

    unit: Literal["", "line", "paragraph", "sentence"] = ""  # "": off
    scope: Literal["source", "corpus"] = "source"  # whether repeats count within a source, or everywhere
    min_documents: int = 10  # units in at least this many documents are repeats
    keep: Literal["none", "first"] = "none"  # "first": the document first in rank (by its id's hash) keeps its copy
    span: int = 1  # successive units that repeat together; C4 takes three sentences
    min_characters: int = 15  # units of fewer letters and digits never count
    max_cut_share: float = 0.7  # a document that would lose more of its characters is dropped
    skip_domains: tuple[str, ...] = ("code",)  # domains left as they are: equal lines are how code is written
    sample: int = 100  # cut units listed in DATASET/corpus/segments.jsonl: so many drawn, so many most frequent
    seed: int = 0  # of that sample

    def __post_init__(self) -> None:
        if self.min_documents < 2:
            raise ConfigError(f"config.segments.min_documents: {self.min_documents} is no repeat; 2 or more")
        if self.span < 1:
            raise ConfigError(f"config.segments.span: {self.span} is less than 1")
        _in_unit_interval("config.segments.max_cut_share", self.max_cut_share)


@dataclass(frozen=True)
class DecontaminateConfig:
    """Documents that share runs of words with benchmark items."""

    benchmarks: tuple[str, ...] = ()  # files or globs (jsonl, json, csv, parquet, txt; also compressed); (): off
    fields: tuple[str, ...] = ()  # keys whose strings are held against documents; (): all strings of an item
    ngram: int = 13  # words to a run
    ngram_characters: int = 20  # and where most of them are characters of a script without spaces
    min_words: int = 8  # an item shorter than a run is taken whole from this many words
    min_characters: int = 12  # and from this many characters of a script without spaces
    min_overlap: int = 1  # different runs that a document and an item must share
    max_items: int = 10  # runs in more items of one file are its template, and do not count
    max_documents: int = 100  # runs in more documents count only in copies of the whole item; 0: they always count
    whole_share: float = 0.8  # a document with this share of an item's runs is a copy of the item
    action: Literal["drop", "mark", "cut"] = "drop"
    margin: int = 200  # characters that "cut" takes on either side of a passage
    max_cut_share: float = 0.5  # a document that would lose more of its characters is dropped

    def __post_init__(self) -> None:
        for name in ("ngram", "ngram_characters", "min_words", "min_characters", "min_overlap", "max_items"):
            if getattr(self, name) < 1:
                raise ConfigError(f"config.decontaminate.{name}: {getattr(self, name)} is less than 1")
        for name in ("max_documents", "margin"):
            if getattr(self, name) < 0:
                raise ConfigError(f"config.decontaminate.{name}: {getattr(self, name)} is less than 0")
        for name in ("whole_share", "max_cut_share"):
            _in_unit_interval(f"config.decontaminate.{name}", getattr(self, name))


@dataclass(frozen=True)
class DedupConfig:
    threshold: float = 0.7  # documents whose shingle sets have at least this Jaccard similarity are near-duplicates
    thresholds: dict[str, float] = field(default_factory=dict)  # by domain; of two documents' the higher one counts
    lowest: float = 0.0  # bands find pairs from this similarity on, for thresholds to come; 0: the lowest named above
    num_perm: int = 128  # hash functions of a signature; split into bands by the lowest threshold
    ngram: int = 5  # words to a shingle (characters in text without spaces)
    seed: int = 1
    score: str = ""  # of near-duplicates the one with the highest score of this name stays; "": the longest
    against: tuple[str, ...] = ()  # folders of earlier data sets: what repeats a document that they kept goes
    part_documents: int = 32_768  # that one partition of its exchanges holds, about: less takes less memory
    max_shingles: int = 200_000  # longer texts are compared exactly by a sample of their shingles, at most so many

    def __post_init__(self) -> None:
        named = {"threshold": self.threshold, **{f"thresholds.{name}": t for name, t in self.thresholds.items()}}
        for name, threshold in named.items():
            if not 0 < threshold <= 1:
                raise ConfigError(f"config.dedup.{name}: {threshold} is outside (0, 1]")
        if not 0 <= self.lowest <= 1:
            raise ConfigError(f"config.dedup.lowest: {self.lowest} is outside [0, 1]")
        for name in ("ngram", "part_documents", "max_shingles"):
            if getattr(self, name) < 1:
                raise ConfigError(f"config.dedup.{name}: {getattr(self, name)} is less than 1")
        if self.num_perm < 16:
            raise ConfigError(f"config.dedup.num_perm: {self.num_perm} is less than 16")


@dataclass(frozen=True)
class TrainScoreConfig:
    """What a score's model learns from: labelled files, or examples of what is wanted. Files: jsonl, Parquet, csv."""

    labelled: tuple[str, ...] = ()  # files or globs whose rows have a text and a label, or a value
    positive: tuple[str, ...] = ()  # files or globs of texts as they should be
    negative: tuple[str, ...] = ()  # … as they shouldn't
    unlabelled: tuple[str, ...] = ()  # … of both kinds, unsorted: the corpus itself
    text_key: str = "text"
    label_key: str = "label"
    regression: bool = False  # labels are numbers to be met, not classes
    holdout: float = 0.1  # share of the texts held out to report on
    buckets: int = 2**20  # that n-grams are hashed into; a power of two
    max_chars: int = 20_000  # of a text that are looked at, from its head
    max_texts: int = 200_000  # to learn from; of more, a sample
    encoder: dict[str, Any] = field(default_factory=dict)  # with --encoder: data_pipeline/score/encoder_settings.py
    seed: int = 0


@dataclass(frozen=True)
class ScoreConfig:
    """One score: a column beside the documents, and a label where the model knows classes."""

    name: str  # letters, digits, - and _
    model: str  # the model's folder
    domains: tuple[str, ...] = ()  # the domains that it is applied to; (): all
    positive: str = ""  # at training: the class whose probability is the score; "": that of the likeliest class
    train: TrainScoreConfig = TrainScoreConfig()


@dataclass(frozen=True)
class KeepConfig:
    """A rule that documents with a score must meet to stay; what has no such score stays."""

    score: str  # a name among config.scores
    min: float | None = None  # drops what lies below
    max: float | None = None  # drops what lies above
    domains: tuple[str, ...] = ()  # the domains that it holds for, as config.domain_from leaves them; (): all


@dataclass(frozen=True)
class DataConfig:
    """The root of a data config file."""

    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    recipe: tuple[OperatorConfig, ...] = ()
    segments: SegmentsConfig = SegmentsConfig()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    scores: tuple[ScoreConfig, ...] = ()
    keep: tuple[KeepConfig, ...] = ()  # rules over scores; a changed one recomputes nothing but the decision
    domain_from: str = ""  # a score whose label becomes the domain of what is kept; "": domains stay as ingested
    dedup: DedupConfig = DedupConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    mixture: MixtureConfig = MixtureConfig()
    order: OrderConfig = OrderConfig()
    select: SelectConfig = SelectConfig()
    stages: tuple[StageConfig, ...] = ()  # parts of the run with mixtures of their own; (): one, of any length
    conversations: ConversationsConfig = ConversationsConfig()
    produce: ProduceConfig = ProduceConfig()
    # Where the engine runs: on this machine, or on the Ray cluster that RAY_ADDRESS names (else on one started here).
    runner: Literal["native", "ray"] = "native"
    partitions: int = 0  # Parquet files that the corpus is kept in; 0: one for 64 MB of input text, at least 8

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("config.sources: no source of text is named")
        check_stages(self.order, self.stages, self.select.decay)
        self._check_rows_of_stages()
        _check_scores(self)

    def _check_rows_of_stages(self) -> None:
        produce = self.produce
        for stage in self.stages:
            where = f"config.stages: row_lengths of {stage.name!r}"
            check_row_lengths(where, stage.row_lengths, produce.seq_len)
            if len(stage.row_lengths) > 1 and produce.pack != "best_fit":
                raise ConfigError(f"{where}: rows of several lengths are for config.produce.pack='best_fit'")
            if produce.overlap > min(map(int, stage.row_lengths), default=produce.seq_len):
                raise ConfigError(f"{where}: config.produce.overlap={produce.overlap} would fill the shortest")
        if self.stages and not any(produce.seq_len in _lengths(produce, stage) for stage in self.stages):
            raise ConfigError(
                f"config.stages: no stage has rows of config.produce.seq_len={produce.seq_len}; set it to the longest "
                "of their row_lengths"
            )


def _lengths(produce: ProduceConfig, stage: StageConfig) -> set[int]:
    """Lengths of the rows of a stage."""
    return {int(length) for length in stage.row_lengths or produce.row_lengths} or {produce.seq_len}


def _check_scores(config: DataConfig) -> None:
    names = [score.name for score in config.scores]
    for i, name in enumerate(names):
        if not re.fullmatch(r"[\w-]+", name, re.ASCII):
            raise ConfigError(f"config.scores[{i}].name: {name!r} is no name of letters, digits, - and _")
        if name in names[:i]:
            raise ConfigError(f"config.scores[{i}].name: {name!r} is there twice")
    asked = [(f"config.keep[{i}].score", rule.score) for i, rule in enumerate(config.keep)]
    asked += [(key, name) for key, name in (("config.domain_from", config.domain_from),) if name]
    for key, name in asked:
        if name not in names:
            raise ConfigError(f"{key}: config.scores has no {name!r}{did_you_mean(name, names)}")
    for i, rule in enumerate(config.keep):
        if rule.min is None and rule.max is None:
            raise ConfigError(f"config.keep[{i}]: names neither min nor max")
        if rule.min is not None and rule.max is not None and rule.min > rule.max:
            raise ConfigError(f"config.keep[{i}]: min {rule.min} lies above max {rule.max}: nothing would stay")


def base() -> ml_collections.ConfigDict:
    """All keys with their defaults, for a config file to change."""
    return config_dict(DataConfig())
