"""A published run, done again: nanoGPT's tinyshakespeare by characters, its setting for a CPU.

    python tools/reference_shakespeare.py TEXT [--seeds=1] [--learning-rate=1e-3]

TEXT is tinyshakespeare (1,115,394 characters, 65 different ones; the last tenth is held out). nanoGPT's README gives a
validation loss of 1.88 for 4 layers, 4 heads, width 128, context 64, 2000 steps of 12 rows, learning rate 1e-3 → 1e-4,
β2 0.99, no dropout. Rows are windows at random places of the text, as there; the held-out text is read whole, once.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from maxlm.blocks.format import RowFormat, Rows
from maxlm.blocks.manifest import DatasetInfo, TokenAccount, save
from maxlm.blocks.reader import BlockStore
from maxlm.blocks.writer import new_block, plan_shards, write_shard
from maxlm.config import freeze, to_plain
from maxlm.eval.perplexity import Validation
from maxlm.models.families import family
from maxlm.train.config import Config, base
from maxlm.train.loop import train

PUBLISHED, SEQ_LEN, BATCH, STEPS = 1.88, 64, 12, 2000
DIGEST = "characters"


def config(dataset: Path, seed: int, learning_rate: float) -> Config:
    made = base()
    sizes = {"embed": 128, "num_layers": 4, "num_heads": 4, "num_kv_heads": 4, "head_dim": 32, "mlp": 512}
    made.model.update(family("gpt2", **sizes, vocab_size=0, max_positions=SEQ_LEN))
    made.optimizer.update({"learning_rate": learning_rate, "b2": 0.99})
    made.schedule.update({"name": "cosine", "warmup_share": 0.05, "final_share": 0.1})
    made.train.update({"batch": BATCH, "seed": seed, "eval_rows": 0, "log_every": 200})
    made.data.update({"dataset": str(dataset), "seed": seed})
    return freeze(Config, to_plain(made))


def write_dataset(dataset: Path, text: str, seed: int) -> None:
    """One block of windows at random places, and the held-out text as rows one after the other."""
    characters = sorted(set(text))
    ids = np.array([characters.index(c) for c in text], np.int64)
    split = int(0.9 * len(ids))
    row_format = RowFormat(SEQ_LEN, len(characters))
    places = np.random.default_rng(seed).integers(0, split - SEQ_LEN, STEPS * BATCH)
    windows = ids[places[:, None] + np.arange(SEQ_LEN + 1)]
    # Each row begins with the last target of the one before, so that every character is predicted once.
    held_out = np.lib.stride_tricks.sliding_window_view(ids[split:], SEQ_LEN + 1)[::SEQ_LEN]
    info = DatasetInfo(DIGEST, len(characters), SEQ_LEN, ({str(SEQ_LEN): len(windows)},), ("shakespeare",))
    save(dataset / "dataset.json", info)
    for blocks, tokens in (("blocks", windows), ("validation", held_out)):
        starts = np.zeros(tokens.shape, bool)
        starts[:, 0] = True
        rows = Rows(tokens, starts, np.ones(tokens.shape, bool), np.zeros(tokens.shape, np.uint8))
        folder, size = dataset / blocks / "block-00000", tokens.size
        with new_block(folder) as publish:
            ((plan,),) = plan_shards([(SEQ_LEN, len(tokens))], size)
            publish(
                block=0, seq_len=SEQ_LEN, rows=len(tokens), shards=(write_shard(folder, plan, row_format, [rows]),),
                account=TokenAccount(size, size, 0, 0), domain_tokens={"shakespeare": size},
                source_tokens={"shakespeare": size}, documents=1, seed=seed, tokenizer_digest=DIGEST, selection=(0, 1),
            )  # fmt: skip


def validation_loss(text: str, seed: int, learning_rate: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "data"
        dataset.mkdir()
        write_dataset(dataset, text, seed)
        found: dict[str, float] = {}

        def evaluator(config, store, model, mesh, length):
            validation = Validation(config, store, model, mesh, np.ones(store.info.vocab_size, np.int32), length)

            def evaluate(params, reference):
                found.update(validation(params))
                return dict(found)

            return evaluate

        train(config(dataset, seed, learning_rate), Path(folder) / "run", BlockStore(dataset), evaluator)
        return found["validation/loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, default=1, help="how many runs, from seed 0 on")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the peak; it falls to a tenth")
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")
    losses = [validation_loss(text, seed, options.learning_rate) for seed in range(options.seeds)]
    listed = ", ".join(f"{loss:.4f}" for loss in losses)
    print(f"validation loss {listed}; nanoGPT's README: {PUBLISHED}")


if __name__ == "__main__":
    main()
