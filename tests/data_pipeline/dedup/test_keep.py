import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.config import DedupConfig
from data_pipeline.dedup import exact, keep, members, signatures
from data_pipeline.dedup.bands import bands_of, bucket_keys
from data_pipeline.shingles import normal_words
from tests.data_pipeline.tables import documents

CONFIG = DedupConfig(threshold=0.6, num_perm=32, ngram=2)


def ranked(config, texts, domains=(), scores=(), earlier=()):
    """The texts as members of one component, in order of rank, and the texts in that order."""
    count = len(texts)
    table = signatures.sign(config, documents(*texts), list(texts))
    table = table.append_column("component", pa.array([0] * count, pa.int64()))
    table = table.append_column("score", pa.array([*scores, *[0.0] * (count - len(scores))]))
    table = table.append_column("earlier", pa.array([*earlier, *[False] * (count - len(earlier))]))
    table = table.set_column(3, "domain", pa.array([*domains, *["en"] * (count - len(domains))]))
    part = members.ranked(config, table)
    return part, [texts[ordinal] for ordinal in part.ordinals]


def sets_of(config, texts):
    words = [normal_words(text) for text in texts]
    return [{w[i : i + config.ngram] for i in range(len(w) - config.ngram + 1)} for w in words]


def settled(config, part, texts):
    wanted = keep.survey(part, config)
    sets = exact.shingle_sets([texts[place] for place in wanted], config.ngram)
    table = pa.table(
        [part.ordinals[wanted], np.zeros(len(wanted), np.int64), pa.array(map(list, sets), pa.large_list(pa.uint64()))],
        schema=exact.SHINGLE_SET,
    )
    return keep.settle(part, config, exact.ShingleSets(part, table).similarity)


def reference(config, part, texts):
    """What stays, from the words of the rule: documents in order of rank, each held against all that stay."""
    folded, sets = [normal_words(text) for text in texts], sets_of(config, texts)
    rows = np.array([row for row, one in enumerate(sets) if one], int)
    signed = signatures.minhash(pa.array([" ".join(folded[row]) for row in rows], pa.large_string()), config)
    signature = dict(zip(rows.tolist(), signed.tolist(), strict=True))
    keys = dict(zip(rows.tolist(), map(set, bucket_keys(signed, bands_of(config)).tolist()), strict=True))
    limits = [config.thresholds.get(domain, config.threshold) for domain in part.domains]
    kept, similarity = [-1] * len(texts), [None] * len(texts)
    for i in range(len(texts)):
        equal = [j for j in range(i) if folded[j] == folded[i]]
        if part.earlier[i]:
            continue
        if equal:
            j = equal[0]
            kept[i], similarity[i] = (j, 1.0) if kept[j] < 0 else (kept[j], similarity[j])
            continue
        sure, doubtful = [], []
        for j in range(i):
            if kept[j] >= 0 or not sets[i] or not sets[j] or not keys[i] & keys[j]:
                continue
            if any(folded[k] == folded[j] for k in range(j)):
                continue  # an earlier document twice: the first speaks for both
            threshold = max(limits[i], limits[j])
            deviation = (threshold * (1 - threshold) / config.num_perm) ** 0.5
            estimate = sum(map(int.__eq__, signature[i], signature[j])) / config.num_perm
            true = len(sets[i] & sets[j]) / len(sets[i] | sets[j])
            if estimate > threshold + 4 * deviation:
                sure.append((estimate, -j))
            elif estimate >= threshold - 2.5 * deviation and true >= threshold:
                doubtful.append((true, -j))
        if sure or doubtful:
            score, j = max(sure or doubtful)
            kept[i], similarity[i] = -j, score
    return kept, similarity


@st.composite
def corpora(draw):
    """Texts with copies that were changed more or less, of which some are copied again."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    texts = []
    for _ in range(draw(st.integers(1, 14))):
        if texts and rng.random() < 0.75:
            words = rng.choice(texts).split()
            words = [f"n{rng.randrange(99)}" if rng.random() < rng.choice([0, 0.02, 0.1]) else word for word in words]
            words = words[rng.randrange(3) : len(words) - rng.randrange(3)]
        else:
            words = [f"w{rng.randrange(40)}" for _ in range(rng.randrange(30))]
        texts.append(" ".join(words))
    domains = [rng.choice(["en", "zh", "code"]) for _ in texts]
    scores = [rng.choice([0.0, 0.5, float("-inf")]) for _ in texts]
    earlier = [rng.random() < 0.2 for _ in texts]
    return texts, domains, scores, earlier


@settings(max_examples=150, deadline=None)
@given(corpora(), st.sampled_from([{}, {"zh": 0.8}, {"zh": 0.5, "code": 0.95}]))
def test_what_stays_is_what_the_rule_says(corpus, thresholds):
    config = DedupConfig(threshold=0.6, thresholds=thresholds, num_perm=32, ngram=2)
    part, texts = ranked(config, *corpus)
    outcome = settled(config, part, texts)
    kept, similarity = reference(config, part, texts)
    assert outcome.kept.tolist() == kept
    found = [None if np.isnan(value) else value for value in outcome.similarity]
    assert found == pytest.approx(similarity)


@settings(deadline=None)
@given(corpora())
def test_clusters_hold_together_what_repeats_and_begin_with_the_best(corpus):
    part, texts = ranked(CONFIG, *corpus)
    outcome = settled(CONFIG, part, texts)
    goes = np.flatnonzero(outcome.kept >= 0)
    assert (outcome.cluster[goes] == outcome.cluster[outcome.kept[goes]]).all()
    assert (outcome.cluster <= np.arange(len(part))).all()
    assert (outcome.cluster[outcome.cluster] == outcome.cluster).all()


@given(corpora(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_arrival_does_not_count(corpus, rng):
    def told(*columns):
        part, texts = ranked(CONFIG, *columns)
        kept = settled(CONFIG, part, texts).kept
        return sorted((text, "" if k < 0 else texts[k]) for text, k in zip(texts, kept, strict=True))

    rows = list({row[0]: row for row in zip(*corpus, strict=True)}.values())  # one text, one document
    assert told(*zip(*rows, strict=True)) == told(*zip(*rng.sample(rows, len(rows)), strict=True))


def test_rank_is_score_then_length_then_source_then_id():
    texts = ["one two three", "one two three four", "a better one", "from before", "no score at all, but the longest"]
    _, order = ranked(CONFIG, texts, scores=[0, 0, 1, 0, float("-inf")], earlier=[False, False, False, True])
    assert order == ["from before", "a better one", "one two three four", "one two three", texts[4]]


def test_a_chain_loses_its_middle_only():
    words = [f"w{i:03d}" for i in range(200)]
    config = DedupConfig(threshold=0.7)
    chain = [" ".join(words[i * 10 : i * 10 + 90 + (5 - i)]) for i in range(6)]  # neighbours 0.81, every other one 0.65
    part, texts = ranked(config, chain)
    outcome = settled(config, part, texts)
    assert outcome.kept.tolist() == [-1, 0, -1, 2, -1, 4]


@pytest.mark.parametrize("threshold", [0.6, 0.7, 0.8])
def test_near_the_threshold_the_shingles_decide(threshold):
    """Pairs just above and just below: no estimate of 128 values could tell them apart."""
    rng, config = random.Random(0), DedupConfig(threshold=threshold, ngram=1, lowest=0.5)
    for case in range(20):
        size = 1000
        shared = round(size * 2 * threshold / (1 + threshold)) + (1 if case % 2 else -1)
        words = [f"c{case}w{i}" for i in range(2 * size - shared)]
        pair = [words[:size], words[size - shared :]]
        part, texts = ranked(config, [" ".join(rng.sample(one, size)) for one in pair])
        true = shared / (2 * size - shared)
        outcome = settled(config, part, texts)
        assert (outcome.kept[1] == 0) == (true >= threshold)
        if outcome.kept[1] == 0:
            assert outcome.similarity[1] == pytest.approx(true)


def test_equal_copies_of_one_that_goes_point_at_the_one_that_stays():
    base = " ".join(f"w{i}" for i in range(60))
    part, texts = ranked(CONFIG, [base, base.upper(), base + " more"])
    assert texts[0] == base + " more"
    outcome = settled(CONFIG, part, texts)
    assert outcome.kept.tolist() == [-1, 0, 0]
    assert outcome.similarity[1] == outcome.similarity[2]


def template(count, config):
    """Documents that share one bucket and nothing else."""
    part, _ = ranked(config, ["a b c d e f"])
    rng = np.random.default_rng(0)
    return members.Members(
        ordinals=np.arange(count),
        ids=pa.chunked_array([[str(i) for i in range(count)]]),
        earlier=np.zeros(count, bool),
        digests=rng.integers(0, 2**63, (count, 2), np.uint64),
        signatures=rng.integers(0, 2**32, (count, config.num_perm), np.uint32),
        signed=np.ones(count, bool),
        keys=np.concatenate(
            [np.full((count, 1), 7, np.uint64), rng.integers(8, 2**63, (count, part.keys.shape[1] - 1), np.uint64)], 1
        ),
        domains=["en"] * count,
        characters=np.full(count, 10),
        unspaced=np.zeros(count, int),
    )


def test_a_bucket_that_twenty_thousand_share_costs_so_many_comparisons_a_document():
    part = template(20_000, CONFIG)
    compared = []
    original = keep._compare

    def counted(part, thresholds, slack, member, mates):
        compared.append(len(mates))
        return original(part, thresholds, slack, member, mates)

    keep._compare = counted
    try:
        outcome = keep.settle(part, CONFIG, None)
    finally:
        keep._compare = original
    assert (outcome.kept == -1).all()
    assert max(compared) == keep.COMPARED


def test_documents_of_one_bucket_are_compared_with_the_first_that_stay():
    part = template(300, CONFIG)
    part.signatures[200] = part.signatures[10]
    part.signatures[201] = part.signatures[100]  # beyond the first, and no other bucket shared
    kept = keep.settle(part, CONFIG, None).kept
    assert (kept[200], kept[201]) == (10, -1)


def test_sampled_sets_compare_without_a_bias():
    rng = np.random.default_rng(0)
    pool = np.unique(rng.integers(0, 2**64, 300_000, np.uint64))
    small, large = np.sort(rng.choice(pool, 150_000, False)), pool
    true = len(small) / len(large)
    (a, halved), (b, more) = exact.sampled(small, 20_000), exact.sampled(large, 20_000)
    assert len(a) <= 20_000
    assert len(b) <= 20_000
    assert (halved, more) == (3, 4)
    texts = ["some words of one", "other words of two"]
    part, _ = ranked(CONFIG, texts)
    hashes = pa.array([a, b], pa.large_list(pa.uint64()))
    sets = exact.ShingleSets(part, pa.table([part.ordinals, [halved, more], hashes], schema=exact.SHINGLE_SET))
    assert sets.similarity(1, np.array([0]))[0] == pytest.approx(true, abs=0.02)


@given(st.lists(st.text("abc ", max_size=30), min_size=2, max_size=6))
def test_exact_similarity_is_that_of_the_sets(texts):
    part, texts = ranked(CONFIG, texts)
    known = exact.shingle_sets(texts[1:], CONFIG.ngram)
    table = pa.table(
        [part.ordinals[1:], [0] * len(known), pa.array(map(list, known), pa.large_list(pa.uint64()))],
        schema=exact.SHINGLE_SET,
    )
    similarity = exact.ShingleSets(part, table).similarity
    sets = sets_of(CONFIG, texts)
    for i, j in combinations(range(1, len(texts)), 2):
        expected = len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j]))
        assert similarity(i, np.array([j]))[0] == pytest.approx(expected)
    assert np.isnan(similarity(0, np.array([1]))[0])
    assert np.isnan(similarity(1, np.array([0]))[0])
