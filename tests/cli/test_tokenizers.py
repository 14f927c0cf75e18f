"""A run on a byte-level tokenizer, as typed: what holds for SentencePiece holds for it."""

from maxlm.tokenizer.load import load_tokenizer
from tests.runs import make_tokenised_dataset, maxlm, train_line


def test_train_and_generate_with_a_byte_level_tokenizer(tmp_path):
    dataset = make_tokenised_dataset(tmp_path / "data", "bytelevel", rows=8, blocks=1)
    done = maxlm(*train_line(dataset, tmp_path / "run", "--config.data.num_blocks=1"))
    assert done.returncode == 0, done.stderr
    assert "bpb" in done.stdout
    kept = load_tokenizer(tmp_path / "run" / "tokenizer")
    assert (kept.kind, kept.digest) == ("bytelevel", load_tokenizer(dataset / "tokenizer").digest)
    said = maxlm("generate", f"--workdir={tmp_path}/run", "--prompt=the quick", "--max-tokens=5")
    assert (said.returncode, said.stdout[:9]) == (0, "the quick"), said.stderr
