import dataclasses
import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest

from data_pipeline import dedup, engine, ingest, recipe
from data_pipeline.config import DataConfig, DedupConfig, OperatorConfig, SourceConfig
from data_pipeline.dedup import signatures, target
from data_pipeline.document import ATTRIBUTES, DOCUMENTS, INGESTED, REMOVED_DOCUMENTS
from data_pipeline.ingest.stage import document_id
from maxlm.errors import ConfigError, DataError, UserError
from maxlm.paths import exclusive
from tests.data_pipeline.tables import contents, rows_of, write_jsonl

ENGLISH = " ".join(random.Random(1).choices([f"word{i}" for i in range(500)], k=120))
ENGLISH_LONGER = ENGLISH + " and an ending"
CHINESE = "".join(
    random.Random(2).choices("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜", k=150)
)
CHINESE_LONGER = CHINESE + "，金生丽水。"
CORPUS = [
    ENGLISH,
    ENGLISH_LONGER,  # near: the longer one stays
    ENGLISH_LONGER.upper().replace(" ", "\n"),  # exact, but for case and white space
    CHINESE,
    CHINESE_LONGER,
    "Too short.",
    "Too small.",  # of the same length, and as empty of shingles
    "Short twice",
    "short  twice",
    "A text of its own, which shares with the others no more than a few of the commonest words of English.",
]


def configured(dataset, steps=(), partitions=3, domain="auto", **options):
    """Few documents to a part, so that they travel."""
    source = SourceConfig(str(dataset / "in*.jsonl"), name="in", domain=domain)
    options = DedupConfig(**{"part_documents": 8, **options})
    return DataConfig(sources=(source,), recipe=steps, partitions=partitions, dedup=options)


def run(tmp_path, texts, name="data", steps=(), **options):
    write_jsonl(tmp_path / name / "in.jsonl", *texts)
    config = configured(tmp_path / name, steps, **options)
    for stage in (ingest, recipe, dedup):
        stage.run(config, tmp_path / name)
    return tmp_path / name


def texts_in(folder):
    return sorted(row["text"] for row in rows_of(folder))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return run(tmp_path_factory.mktemp("dedup"), CORPUS)


def test_planted_duplicates_go_and_all_else_stays(dataset):
    removed = {row["text"]: row["reason"] for row in rows_of(dataset / REMOVED_DOCUMENTS)}
    # Two copies of one length and source: the first id stays.
    second_copy = max(ENGLISH_LONGER, CORPUS[2], key=lambda text: document_id("in", text))
    assert removed == {
        ENGLISH: "near_duplicate",
        second_copy: "exact_duplicate",
        CHINESE: "near_duplicate",
        "Short twice": "exact_duplicate",  # the other has one space more
    }
    kept = {row["text"] for row in rows_of(dataset / DOCUMENTS)}
    assert kept == set(CORPUS) - removed.keys()


def test_evidence_names_a_document_that_stays_and_their_similarity(dataset):
    kept = {row["id"] for row in rows_of(dataset / DOCUMENTS)}
    rows = [row for row in rows_of(dataset / ATTRIBUTES / "dedup") if row["reason"]]
    assert len(rows) == 4
    assert {row["kept"] for row in rows} <= kept
    scores = {row["id"]: row["similarity"] for row in rows}
    words = ENGLISH.split()
    shingles = {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
    true = len(shingles) / (len(shingles) + 3)  # far from the threshold, so estimated by 128 values
    assert scores[document_id("in", ENGLISH)] == pytest.approx(true, abs=4 * (true * (1 - true) / 128) ** 0.5)
    evidence = {row["text"]: row["evidence"] for row in rows_of(dataset / REMOVED_DOCUMENTS)}
    assert (
        evidence[CHINESE]
        == f"kept {document_id('in', CHINESE_LONGER)}, similarity {scores[document_id('in', CHINESE)]:.3f}"
    )


def test_attributes_have_the_documents_ids_and_order(dataset):
    for stage in ("clean", "dedup"):
        for name in engine.partition_names(3):
            ids = engine.read_partition(dataset / INGESTED / name)["id"]
            assert engine.read_partition(dataset / ATTRIBUTES / stage / name)["id"] == ids


def test_what_stays_does_not_depend_on_the_order_of_input(tmp_path, dataset):
    shuffled = random.Random(3).sample(CORPUS, len(CORPUS))
    other = run(tmp_path, shuffled)
    for folder in (DOCUMENTS, REMOVED_DOCUMENTS):
        assert {tuple(row.items()) for row in rows_of(other / folder)} == {
            tuple(row.items()) for row in rows_of(dataset / folder)
        }


def test_a_chain_is_not_swallowed(tmp_path):
    words = [f"w{i:03d}" for i in range(200)]
    # Neighbours' similarity is 0.81; of every other one 0.65, less than the threshold. Each is longer than the next.
    chain = [" ".join(words[i * 10 : i * 10 + 90 + (5 - i)]) for i in range(6)]
    dataset = run(tmp_path, chain)
    kept = [row["text"] for row in rows_of(dataset / DOCUMENTS)]
    assert sorted(kept) == [chain[0], chain[2], chain[4]]


def test_documents_that_the_recipe_drops_take_no_part(tmp_path):
    long_enough = OperatorConfig("length", params={"max_words": 121, "min_words": 2})
    dataset = run(tmp_path, [ENGLISH, ENGLISH_LONGER], steps=(long_enough,))
    assert [row["text"] for row in rows_of(dataset / DOCUMENTS)] == [ENGLISH]


def test_texts_are_compared_as_the_recipe_leaves_them(tmp_path):
    texts = [f"{ENGLISH} {name}@example.com" for name in ("ann", "bob")]
    dataset = run(tmp_path, texts, steps=(OperatorConfig("redact"),))
    [removed] = rows_of(dataset / REMOVED_DOCUMENTS)
    assert removed["reason"] == "exact_duplicate"
    assert removed["text"] == f"{ENGLISH} <email>"


def test_the_same_text_twice_in_a_source_stays_once(tmp_path):
    dataset = run(tmp_path, [ENGLISH] * 3 + ["other words entirely"])
    assert sorted(row["text"] for row in rows_of(dataset / DOCUMENTS)) == ["other words entirely", ENGLISH]


def test_running_again_changes_nothing(tmp_path):
    dataset = run(tmp_path, CORPUS)
    before = contents(dataset)
    assert contents(run(tmp_path, CORPUS)) == before


def test_dedup_after_another_recipe_is_refused(tmp_path):
    dataset = run(tmp_path, CORPUS)
    config = DataConfig(sources=(SourceConfig(str(dataset / "in.jsonl")),), recipe=(OperatorConfig("redact"),))
    with pytest.raises(DataError, match="made with other settings or input: run `maxlm-data clean` again"):
        dedup.run(config, dataset)


def test_a_recipe_that_drops_everything_is_refused(tmp_path):
    with pytest.raises(DataError, match="no document is left"):
        run(tmp_path, ["one", "two"], steps=(OperatorConfig("length"),))


def varied(count=60, seed=5):
    """Texts in families of copies that were changed more or less."""
    rng = random.Random(seed)
    vocabulary = [f"word{i}" for i in range(400)] + list("春江潮水连海平海上明月共潮生")
    texts = []
    for _ in range(count):
        if texts and rng.random() < 0.6:
            share = rng.choice([0, 0.01, 0.03, 0.06])
            words = [rng.choice(vocabulary) if rng.random() < share else word for word in rng.choice(texts).split()]
        else:
            words = rng.choices(vocabulary, k=rng.randrange(3, 200))
        texts.append(" ".join([*words, "end"] if rng.random() < 0.5 else words))
    return texts


def test_neither_partitions_nor_parts_nor_files_nor_their_order_count(tmp_path):
    texts, found = varied(), []
    for number, (partitions, part_documents) in enumerate(((1, 100), (3, 30), (5, 1), (4, 10_000))):
        folder, shuffled = tmp_path / str(number), random.Random(number).sample(texts, len(texts))
        for file in range(number + 1):
            write_jsonl(folder / f"in{file}.jsonl", *shuffled[file :: number + 1])
        config = configured(folder, partitions=partitions, part_documents=part_documents)
        for stage in (ingest, recipe, dedup):
            stage.run(config, folder)
        rows = [sorted(map(repr, rows_of(folder / name))) for name in (DOCUMENTS, REMOVED_DOCUMENTS)]
        found.append((rows, sorted(repr(row) for row in rows_of(folder / ATTRIBUTES / "dedup"))))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0][0][1]) > 10


def test_clusters_of_what_stays_name_the_best_of_them(tmp_path):
    words = [f"w{i:03d}" for i in range(200)]
    chain = [" ".join(words[i * 10 : i * 10 + 90 + (3 - i)]) for i in range(3)]
    dataset = run(tmp_path, [*chain, "a text that resembles none of the others at all"])
    clusters = {row["text"]: row["cluster"] for row in rows_of(dataset / DOCUMENTS)}
    first = document_id("in", chain[0])
    assert clusters == {chain[0]: first, chain[2]: first, "a text that resembles none of the others at all": None}


def test_chinese_near_copies_are_found_and_short_texts_only_if_equal(tmp_path):
    copy = CHINESE.replace("云", "雲", 1)
    short = ["你好。", "您好。", "你 好 。", "hello there", "Hello  there"]
    dataset = run(tmp_path, [CHINESE, copy, *short])
    assert len(texts_in(dataset / DOCUMENTS)) == 1 + 3
    reasons = sorted(row["reason"] for row in rows_of(dataset / REMOVED_DOCUMENTS))
    assert reasons == ["exact_duplicate", "exact_duplicate", "near_duplicate"]


def test_the_stricter_threshold_of_two_domains_counts(tmp_path):
    words = [f"w{i:03d}" for i in range(100)]
    longer, shorter = " ".join(words), " ".join(words[:85])  # similarity 0.84
    kept = {}
    for domains in (("news", "news"), ("news", "wiki"), ("wiki", "wiki")):
        folder = tmp_path / "-".join(domains)
        for text, name in zip((longer, shorter), "ab", strict=True):
            write_jsonl(folder / f"{name}.jsonl", text)
        sources = tuple(
            SourceConfig(str(folder / f"{name}.jsonl"), domain=domain)
            for name, domain in zip("ab", domains, strict=True)
        )
        options = DedupConfig(threshold=0.7, thresholds={"wiki": 0.9})
        config = DataConfig(sources=sources, partitions=2, dedup=options)
        for stage in (ingest, recipe, dedup):
            stage.run(config, folder)
        kept[domains] = len(rows_of(folder / DOCUMENTS))
    assert kept == {("news", "news"): 1, ("news", "wiki"): 2, ("wiki", "wiki"): 2}


def test_what_repeats_an_earlier_data_set_goes_with_evidence(tmp_path):
    texts = varied()
    earlier = run(tmp_path, texts[:30], name="earlier")
    new = run(tmp_path, texts[30:], name="new", against=(str(earlier),))
    before = {row["id"] for row in rows_of(earlier / DOCUMENTS)}
    removed = [row for row in rows_of(new / ATTRIBUTES / "dedup") if row["reason"]]
    assert any(row["kept"] in before for row in removed)
    # Together nothing is left that another of them repeats: once more, and nothing goes.
    both = texts_in(earlier / DOCUMENTS) + texts_in(new / DOCUMENTS)
    assert texts_in(run(tmp_path, both, name="both") / DOCUMENTS) == sorted(both)


def test_earlier_data_sets_with_other_parameters_are_signed_anew(tmp_path):
    texts = varied()
    found = []
    for name, options in (("same", {}), ("other", {"num_perm": 64})):
        earlier = run(tmp_path, texts[:30], name=f"earlier-{name}", threshold=0.99, **options)
        kept = texts_in(earlier / DOCUMENTS)
        found.append((kept, texts_in(run(tmp_path, texts[30:], name=name, against=(str(earlier),)) / DOCUMENTS)))
    assert found[0] == found[1]


def test_one_batch_after_the_other_keeps_what_one_pass_keeps(tmp_path):
    texts = varied(40)
    longer = [f"{text} and more words to its end" for text in texts[::2]]  # the first batch's are the better ones
    earlier = run(tmp_path, longer, name="earlier")
    new = run(tmp_path, texts, name="new", against=(str(earlier),))
    together = run(tmp_path, longer + texts, name="together")
    batches = {row["id"] for folder in (earlier, new) for row in rows_of(folder / DOCUMENTS)}
    removed_alone = {row["id"] for row in rows_of(earlier / REMOVED_DOCUMENTS)}
    one_pass = {row["id"] for row in rows_of(together / DOCUMENTS)}
    assert {
        i for i in batches if i in {document_id("in", text) for text in longer}
    } >= one_pass - batches - removed_alone
    assert one_pass <= batches | removed_alone


def test_an_earlier_data_set_without_documents_is_named(tmp_path):
    with pytest.raises(DataError, match=r"config\.dedup\.against: .*nowhere holds no documents"):
        run(tmp_path, CORPUS, against=(str(tmp_path / "nowhere"),))


def test_another_threshold_makes_no_new_signatures_and_with_the_same_bands_no_new_components(tmp_path):
    dataset = run(tmp_path, varied(), lowest=0.6)
    folders = [signatures.SIGNATURES, "corpus/dedup/members"]
    before = [(dataset / folder / "part-00001.parquet").stat().st_mtime_ns for folder in folders]
    kept = len(rows_of(dataset / DOCUMENTS))
    dedup.run(configured(dataset, lowest=0.6, threshold=0.95), dataset)
    assert [(dataset / folder / "part-00001.parquet").stat().st_mtime_ns for folder in folders] == before
    assert len(rows_of(dataset / DOCUMENTS)) > kept
    dedup.run(configured(dataset, threshold=0.95), dataset)
    assert (dataset / folders[0] / "part-00001.parquet").stat().st_mtime_ns == before[0]
    assert (dataset / folders[1] / "part-00001.parquet").stat().st_mtime_ns != before[1]


def test_thresholds_are_tried_and_the_nearest_is_chosen(tmp_path):
    dataset = run(tmp_path, varied(), name="tried")
    config, rows = dedup.try_thresholds(configured(dataset), dataset)
    assert [row.threshold for row in rows] == [round(0.5 + i / 20, 2) for i in range(11)]
    assert sorted(row.tokens for row in rows) == [row.tokens for row in rows]
    lowest, highest = rows[0], rows[-1]
    assert lowest.documents < highest.documents
    assert target.choose(rows, 1) is max(
        (row for row in rows if row.tokens == lowest.tokens), key=lambda r: r.threshold
    )
    assert target.choose(rows, 10**9) is highest
    for row in rows[2::4]:
        chosen = dataclasses.replace(config, dedup=dataclasses.replace(config.dedup, threshold=row.threshold))
        dedup.run(chosen, dataset)
        # Nearly: shingles decide where estimates alone are in doubt.
        assert len(rows_of(dataset / DOCUMENTS)) == pytest.approx(row.documents, abs=6)
    with pytest.raises(ConfigError, match="--target-tokens: 0"):
        target.choose(rows, 0)


def test_a_second_process_is_refused(tmp_path):
    dataset = run(tmp_path, CORPUS)
    with exclusive(dataset / "corpus/dedup/lock", "held"), pytest.raises(UserError, match="another process is dedup"):
        dedup.run(configured(dataset), dataset)


def test_decisions_on_what_an_older_config_said_are_refused(tmp_path):
    dataset = run(tmp_path, CORPUS)
    dedup.require_current(configured(dataset), dataset)
    with pytest.raises(DataError, match="made with other settings or input: run `maxlm-data dedup` again"):
        dedup.require_current(configured(dataset, threshold=0.9), dataset)


def killed_after(writes, config, dataset):
    """Deduplicates, and dies for good before the partition after so many."""
    left, original = [writes], engine.write_partition

    def write(path, content):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        original(path, content)

    engine.write_partition = write
    dedup.run(config, dataset)


def test_killed_between_any_two_partitions_it_makes_the_same_bytes(tmp_path):
    texts = varied()
    expected = contents(run(tmp_path, texts, name="whole", partitions=2))
    write_jsonl(tmp_path / "killed" / "in.jsonl", *texts)
    config = configured(tmp_path / "killed", partitions=2)
    for stage in (ingest, recipe):
        stage.run(config, tmp_path / "killed")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_pipeline.dedup"])
    exits, writes = [], random.Random(0)
    while not exits or exits[-1] != 0:
        job = (writes.randrange(4, 10), config, tmp_path / "killed")
        process = context.Process(target=killed_after, args=job)
        process.start()
        process.join()
        exits.append(process.exitcode)
    assert set(exits[:-1]) == {-signal.SIGKILL}
    assert len(exits) > 3
    assert contents(tmp_path / "killed") == expected


def on_two_workers(config, dataset):
    """The whole corpus side on a Ray of this process's own."""
    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    for stage in (ingest, recipe, dedup):
        stage.run(dataclasses.replace(config, runner="ray"), dataset)


def test_ray_makes_the_same_bytes(tmp_path):
    texts = varied()
    expected = contents(run(tmp_path, texts, name="native"))
    write_jsonl(tmp_path / "ray" / "in.jsonl", *texts)
    process = multiprocessing.get_context("spawn").Process(
        target=on_two_workers, args=(configured(tmp_path / "ray"), tmp_path / "ray")
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    assert contents(tmp_path / "ray") == expected
