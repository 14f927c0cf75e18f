"""The index finds every document, holds some out, and names what is wrong with a partition."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.document import DOCUMENT
from data_pipeline.mix.corpus import Corpus
from maxlm.errors import DataError
from tests import texts
from tests.data_pipeline.produce import made


def all_rows(dataset):
    paths = sorted((dataset / "documents").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_ordinals_are_places_in_the_sorted_partitions(prepared):
    corpus, rows = Corpus(prepared, 0.1), all_rows(prepared)
    assert len(corpus) == len(rows)
    assert corpus.domains == ("code", "en", "zh")
    assert [corpus.domains[i] for i in corpus.domain] == [row["domain"] for row in rows]
    assert [corpus.sources[i] for i in corpus.source] == [row["source"] for row in rows]
    assert corpus.bytes.tolist() == [len(row["text"].encode()) for row in rows]


@pytest.mark.parametrize("wanted", [[], [0], [3, 4, 40, 79], list(range(80))])
def test_texts_come_in_the_order_of_their_ordinals(prepared, wanted):
    corpus, rows = Corpus(prepared, 0.1), all_rows(prepared)
    found = []
    for ordinals, part in corpus.texts(np.array(wanted, int)):
        found += zip(ordinals.tolist(), part, strict=True)
    assert found == [(i, rows[i]["text"]) for i in wanted]


def test_long_texts_come_in_batches_of_bounded_size(tmp_path):
    made.write_documents(tmp_path, [("en", "x" * size) for size in (400_000, 700_000, 3_000_000, 10, 10)], partitions=1)
    batches = [part for _, part in Corpus(tmp_path, 0.0).texts(np.arange(5))]
    assert [[len(text) for text in batch] for batch in batches] == [[400_000], [700_000], [3_000_000], [10, 10]]


def test_documents_are_held_out_by_their_id_alone(prepared, tmp_path):
    corpus, rows = Corpus(prepared, 0.2), all_rows(prepared)
    held_out = {row["id"] for row, held in zip(rows, corpus.held_out, strict=True) if held}
    assert 4 <= len(held_out) <= 30
    other = tmp_path / "documents"
    other.mkdir()
    pq.write_table(pa.Table.from_pylist(rows[::-1], DOCUMENT), other / "all.parquet")
    again = Corpus(tmp_path, 0.2)
    assert {row["id"] for row, held in zip(rows[::-1], again.held_out, strict=True) if held} == held_out
    assert again.digest != corpus.digest


def test_each_domain_of_two_documents_has_one_held_out(tmp_path):
    made.write_documents(tmp_path, [("a", "x"), ("a", "y"), ("b", "z")] + [("c", f"{i}") for i in range(50)])
    corpus = Corpus(tmp_path, 1e-9)
    assert [int(corpus.held_out[corpus.domain == i].sum()) for i in range(3)] == [1, 0, 1]
    assert not Corpus(tmp_path, 0.0).held_out.any()


def test_no_documents_name_the_commands(tmp_path):
    with pytest.raises(DataError, match=r"no documents .* run maxlm-data ingest, clean and dedup first"):
        Corpus(tmp_path, 0.1)
    made.write_documents(tmp_path, [])
    with pytest.raises(DataError, match="hold no documents"):
        Corpus(tmp_path, 0.1)


def test_what_is_wrong_with_a_partition_is_named(tmp_path):
    made.write_documents(tmp_path, texts.corpus(documents=9))
    part = tmp_path / "documents/part-00001.parquet"
    whole = pq.read_table(part)
    for table, message in (
        (whole.drop_columns(["domain"]), "no column domain"),
        (whole.set_column(1, "text", pa.array(["x", None, "y"])), "column text has empty"),
    ):
        pq.write_table(table, part)
        with pytest.raises(DataError, match=rf"part-00001\.parquet.*{message}"):
            Corpus(tmp_path, 0.1)
    part.write_bytes(b"not Parquet")
    with pytest.raises(DataError, match=r"part-00001\.parquet: not readable as Parquet"):
        Corpus(tmp_path, 0.1)
