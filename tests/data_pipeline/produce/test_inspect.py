"""A person sees what a block holds."""

import pytest

from data_pipeline.produce.inspect import show_block
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError
from maxlm.tokenizer.load import load_tokenizer


def test_manifest_and_rows_are_shown(produced, capsys):
    show_block(produced, 1, 2)
    shown = capsys.readouterr().out
    for part in ("= written", "8,192", "domain en", "4,096 (50.0%)", "row 0", "row 127", "from its beginning"):
        assert part in shown
    store, tokenizer = BlockStore(produced), load_tokenizer(produced / "tokenizer")
    row = store.info.row_format.decode([store.source(1)[127]])
    for line in tokenizer.decode(row.tokens[0].tolist()).split("\n"):
        assert line.strip() in shown  # as it is: nothing in a text is taken for markup


def test_the_validation_block_and_its_padding(produced, capsys):
    rows = BlockStore(produced, "validation").manifest(0).rows
    show_block(produced, 0, rows, "validation")
    shown = capsys.readouterr().out
    assert shown.count("row ") >= rows
    assert "padded" in shown


def test_no_such_block(produced):
    with pytest.raises(DataError, match=r"block-00099/manifest\.json: no such file"):
        show_block(produced, 99, 1)
