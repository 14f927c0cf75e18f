"""Whole runs of selection and ledger, without texts: whatever corpus, mixture, decay, kills and skips."""

import dataclasses
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.config import DataConfig, ProduceConfig
from data_pipeline.mix import order as order_module
from data_pipeline.mix import select
from data_pipeline.mix.choose import Chooser
from data_pipeline.mix.config import FilterConfig, MixtureConfig, OrderConfig, ScoreRangeConfig, SelectConfig
from data_pipeline.mix.config import StageConfig as Stage
from data_pipeline.mix.ledger import Ledger
from data_pipeline.mix.pools import pools
from data_pipeline.mix.spread import keys
from maxlm.errors import DataError
from tests.data_pipeline.mix.indexes import index

NAMES = ("a", "b", "c")


@st.composite
def runs(draw):
    """(index, tokens of each document, config, tokens of a block, steps)."""
    count = draw(st.integers(3, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    domains = [*NAMES, *rng.choice(NAMES, count)]
    found = index(
        domains,
        size=rng.integers(1, 300, len(domains)).tolist(),
        cluster=rng.choice([0, 0, 0, 7, 8, 9], len(domains)).tolist(),
    )
    weights = {name: float(rng.integers(1, 5)) for name in NAMES[: draw(st.integers(1, 3))]}
    tokens = draw(st.integers(20, 600))
    config = DataConfig(
        mixture=MixtureConfig(weights=weights, max_uses=draw(st.sampled_from([0, 0, 0, 6]))),
        select=SelectConfig(
            decay=draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])), spread_tokens=draw(st.sampled_from([0, 1, 900, 4000]))
        ),
        produce=ProduceConfig(seed=draw(st.integers(0, 3))),
    )
    steps = draw(
        st.lists(st.sampled_from(["block", "block", "block", "killed", "skip", "unskip", "reopen"]), max_size=9)
    )
    return found, rng.integers(1, 120, len(domains)), config, tokens, ["block", *steps]


class Run:
    """A producer's loop around chooser and ledger, and what is expected of it."""

    def __init__(self, folder, found, lengths, config, tokens):
        self.folder, self.found, self.lengths, self.config, self.tokens = folder, found, lengths, config, tokens
        self.ledger = Ledger(folder, "digest", len(found))
        self.finished: set[int] = set()
        self.skipped: set[int] = set()
        self.contents: dict[int, np.ndarray] = {}

    def choose(self, number, wrong=1.0):
        """`wrong`: what bytes per token are taken for; it must not matter."""
        chooser = Chooser(self.config, self.found, pools(self.found, self.config), workers=1)
        ratios = np.full(len(NAMES), wrong)
        return chooser.choose(
            number,
            number * self.tokens,
            self.tokens,
            self.ledger,
            lambda ordinals: self.lengths[ordinals],
            ratios,
        )

    def step(self, name):
        number = len(self.finished)
        if name in ("block", "killed"):
            before = self.ledger.uses().astype(int)
            choice = self.choose(number)
            again = self.choose(number, wrong=7.5)
            assert choice.documents.tolist() == again.documents.tolist()
            assert choice.budgets.tolist() == again.budgets.tolist()
            self.check(number, choice, before)
            self.ledger.record(number, choice.documents, choice.budgets.tolist(), 0, choice.by, choice.stage)
            if name == "killed":  # before its manifest: the next attempt makes the same
                self.ledger = Ledger(self.folder, "digest", len(self.found))
                return
            self.finished.add(number)
            self.contents[number] = choice.documents
        elif name == "skip" and self.finished:
            self.skipped.add(max(self.finished))
        elif name == "unskip":
            self.skipped.clear()
        elif name == "reopen":  # a kill before the last block was counted
            self.ledger = Ledger(self.folder, "digest", len(self.found))
        self.ledger.reconcile(self.finished.__contains__, self.skipped)
        self.ledger.check_uses()
        expected = np.zeros(len(self.found), int)
        for block in self.finished - self.skipped:
            np.add.at(expected, self.contents[block], 1)
        assert self.ledger.uses().tolist() == expected.tolist()

    def check(self, number, choice, before):
        names = self.found.names["domain"]
        codes, mixture = self.found.codes["domain"], self.config.mixture
        assert choice.budgets.sum() == self.tokens
        counts = np.bincount(choice.documents, minlength=len(self.found))
        held = np.bincount(codes, counts * self.lengths, minlength=len(names))
        longest = [
            self.lengths[choice.documents[codes[choice.documents] == g]].max(initial=1) for g in range(len(names))
        ]
        assert (held >= choice.budgets).all()  # what is over is the end of the last document
        assert (held < choice.budgets + longest).all()
        share = np.array([mixture.weights.get(name, 0) for name in names])
        if not mixture.max_uses:
            assert (np.abs(choice.budgets - share / share.sum() * self.tokens) < 1).all()
            self.check_apart(number, choice, before)
        assert mixture.max_uses == 0 or (before + counts)[counts > 0].max() <= mixture.max_uses
        if not self.config.select.decay:
            for group in range(len(names)):
                of_group = codes == group
                taken = of_group & (counts > 0)
                if taken.any():  # always one of the least used was next
                    assert (before + counts)[taken].max() - 1 <= (before + counts)[of_group].min()

    def exhausted(self):
        """Whether a block's tokens are more than all documents have left."""
        mixture = self.config.mixture
        room = mixture.max_uses - self.ledger.uses().astype(int) if mixture.max_uses else np.array(np.inf)
        meant = np.isin(np.array(self.found.names["domain"])[self.found.codes["domain"]], list(mixture.weights))
        return (room * self.lengths)[meant].sum() < self.tokens

    def check_apart(self, number, choice, before):
        """Where a document stands near one of its cluster, or near itself, there was no other choice."""
        if not (spread := self.config.select.spread_tokens):
            return
        key = keys(self.found, np.arange(len(self.found)))
        near, tokens = set(), spread
        for block in sorted((b for b in self.ledger.applied() if b < number), reverse=True):
            if tokens > 0:
                near |= {int(k) for k in key[self.contents[block]]}
                tokens -= self.tokens
        codes, counts = self.found.codes["domain"], dict.fromkeys(range(len(self.found)), 0)
        in_block: set[int] = set()
        total = np.bincount(choice.documents, minlength=len(self.found))
        all_keys = {int(k) for k in key[choice.documents]}
        for ordinal in choice.documents.tolist():
            decay = self.config.select.decay
            lap = counts[ordinal] if decay else before[ordinal] + counts[ordinal]
            if int(key[ordinal]) in near | in_block:
                for other in np.flatnonzero(codes == codes[ordinal]).tolist():
                    left = total[other] if decay else before[other] + total[other]
                    assert left > lap or int(key[other]) in near | all_keys, (ordinal, other)
            counts[ordinal] += 1
            in_block.add(int(key[ordinal]))


@settings(max_examples=30, deadline=None)
@given(runs())
def test_runs(tmp_path_factory, run):
    found, lengths, config, tokens, steps = run
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "CHUNK", 8)
        patch.setattr(order_module, "_PIECE", 4)
        made = Run(folder, found, lengths, config, tokens)
        for step in steps:
            try:
                made.step(step)
            except DataError:
                assert made.exhausted()
                break
    shutil.rmtree(folder)


def chosen(found, config, tmp_path, tokens=100, blocks=1, lengths=None):
    """The choices of the first blocks, each counted before the next."""
    ledger = Ledger(tmp_path / "run", "digest", len(found))
    chooser = Chooser(config, found, pools(found, config), workers=1)
    lengths = np.full(len(found), 10) if lengths is None else lengths
    choices, ratios = [], np.full(len(found.names["domain"]), 9.0)
    for number in range(blocks):
        choices.append(
            chooser.choose(
                number,
                number * tokens,
                tokens,
                ledger,
                lambda o: lengths[o],
                ratios,
            )
        )
        ledger.record(number, choices[-1].documents, choices[-1].budgets.tolist(), 0)
        ledger.reconcile(lambda block: True, ())
    return choices


def test_what_is_exhausted_goes_to_the_others(tmp_path):
    found = index(["a"] * 3 + ["b"] * 40 + ["c"] * 40)
    mixture = MixtureConfig(weights={"a": 2, "b": 1, "c": 1}, max_uses=4, max_uses_of={"a": 2})
    choices = chosen(found, DataConfig(mixture=mixture), tmp_path, blocks=2)
    assert choices[0].budgets.tolist() == [50, 25, 25]
    assert choices[1].budgets.tolist() == [10, 45, 45]  # 60 tokens of a in all, by its cap
    stop = DataConfig(mixture=dataclasses.replace(mixture, exhausted="stop"))
    with pytest.raises(DataError, match=r"block 1: a is used up as often as it may be: .*exhausted='redistribute'"):
        chosen(found, stop, tmp_path / "other", blocks=2)
    assert Ledger(tmp_path / "other/run", "digest", len(found)).planned() == [0]


def test_stages_have_their_own_mixture_filter_and_order(tmp_path):
    found = index(
        ["a", "b"] * 20,
        sources=["web", "web", "web", "taught"] * 10,
        scores={"quality": [i / 40 for i in range(40)]},
        size=list(range(100, 140)),
    )
    config = DataConfig(
        stages=(
            Stage("first", 200, order=OrderConfig(by="quality", descending=True)),
            Stage(
                "anneal",
                100,
                mixture=MixtureConfig(by="source", shares={"web": 0.5, "taught": 0.5}),
                filter=FilterConfig(scores=(ScoreRangeConfig("quality", top=0.2),), always_sources=("taught",)),
            ),
        ),
    )
    choices = chosen(found, config, tmp_path, blocks=4)
    assert [choice.stage for choice in choices] == ["first", "first", "anneal", "anneal"]  # the last one goes on
    assert [choice.by for choice in choices] == ["domain", "domain", "source", "source"]
    best_first = [documents[found.codes["domain"][documents] == 0].tolist() for documents, *_ in choices[:2]]
    assert best_first == [[38, 36, 34, 32, 30], [28, 26, 24, 22, 20]]
    web = np.flatnonzero(np.array(found.names["source"])[found.codes["source"]] == "web")
    for choice in choices[2:]:
        assert choice.budgets.tolist() == [50, 50]
        of_web = np.intersect1d(choice.documents, web)
        assert set(of_web.tolist()) <= set(web[-6:].tolist())  # a fifth of 30


def test_noise_blurs_an_order_and_scores_that_lack_come_last(tmp_path):
    scores = [float("nan") if i % 10 == 0 else i for i in range(1000)]
    found = index(["a"] * 1000, scores={"quality": scores})

    def mean_of_first(noise, **order):
        config = DataConfig(order=OrderConfig(by="quality", noise=noise, **order))
        (choice,) = chosen(found, config, tmp_path / f"{noise}{order}", tokens=1000)
        values = np.array(scores)[choice.documents]
        assert not np.isnan(values).any()
        return values.mean()

    assert mean_of_first(0.0) == pytest.approx(55, abs=3)
    assert mean_of_first(0.0, descending=True) == pytest.approx(945, abs=3)
    assert mean_of_first(0.5) == pytest.approx(150, abs=40)
    assert mean_of_first(1.0) == pytest.approx(500, abs=90)


def test_lots_are_drawn_by_row_group(tmp_path):
    found = index(["a", "b"] * 500, row_groups=[*range(0, 1000, 20), 1000])
    (choice,) = chosen(found, DataConfig(order=OrderConfig(lot="row_group")), tmp_path, tokens=1000)
    assert len(np.unique(choice.documents // 20)) == 5  # 100 documents, of both domains, out of 5 row groups of 20
    (choice,) = chosen(found, DataConfig(), tmp_path / "other", tokens=1000)
    assert len(np.unique(choice.documents // 20)) > 35


def test_parts_make_up_a_block_without_overlap(tmp_path):
    found = index(["a"] * 60)
    config, ledger = DataConfig(), Ledger(tmp_path, "digest", 60)
    chooser = Chooser(config, found, pools(found, config), workers=1)
    parts = []
    for number in range(3):
        choice = chooser.choose(
            0, 0, 150, ledger, lambda o: np.full(len(o), 10), np.ones(1), lambda o, n=number: o % 3 == n
        )
        assert set((choice.documents % 3).tolist()) == {number}
        parts.append(choice.documents)
    assert len(np.unique(np.concatenate(parts))) == 45


def test_shares_follow_their_curve(tmp_path):
    found = index(["a", "b"] * 100)
    mixture = MixtureConfig(shares={"a": [[0, 1.0], [500, 0.0]], "b": [[0, 0.0], [500, 1.0]]})
    choices = chosen(found, DataConfig(mixture=mixture), tmp_path, blocks=6)
    found = [choice.budgets.tolist() for choice in choices]
    assert found == [[90, 10], [70, 30], [50, 50], [30, 70], [10, 90], [0, 100]]
