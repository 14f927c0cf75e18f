"""A run of 10T tokens on 5 billion documents of 12 domains, played on totals: what is repeated, how large things get.

    python tools/simulate_run.py [--cluster-tokens-s=10_000_000] [--worker-tokens-s=…] [--plot=docs/tokens/mixture.png]

The corpus is made up; mixture, stages, caps and forecast are those of the producer (data_pipeline/mix), so that what
the table says is what `maxlm-data produce --dry-run` would say of such a corpus. Sizes and rates per document are
parameters, with what was measured as defaults (docs/tokens/ledger.md).
"""

import argparse
import math
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from data_pipeline.config import DataConfig, ProduceConfig
from data_pipeline.mix import forecast
from data_pipeline.mix.config import MixtureConfig, SelectConfig, StageConfig
from data_pipeline.mix.forecast import Forecast
from data_pipeline.mix.pools import Pools

T, B, M = 10**12, 10**9, 10**6
CORPUS = {  # millions of documents, tokens of one
    "web_en": (2300, 1000),
    "web_zh": (900, 900),
    "web_other": (736, 900),
    "code": (450, 1300),
    "forums": (220, 600),
    "notebooks": (150, 700),
    "papers": (60, 9000),
    "encyclopedia": (60, 700),
    "math": (60, 1800),
    "instruction": (40, 900),
    "reasoning": (20, 4000),
    "books": (4, 100_000),
}
BEST = 0.2  # of each web domain: what the anneal takes by score
MAIN = {
    "web_en": 0.38,
    "web_zh": [[0, 0.16], [8 * T, 0.12]],
    "web_other": 0.08,
    "code": [[0, 0.12], [8 * T, 0.17]],
    "forums": 0.03,
    "notebooks": 0.02,
    "papers": 0.08,
    "encyclopedia": 0.015,
    "math": [[0, 0.025], [8 * T, 0.045]],
    "instruction": 0.005,
    "reasoning": 0.005,
    "books": [[0, 0.08], [8 * T, 0.05]],
}
ANNEAL = {
    "web_en": 25, "web_zh": 10, "web_other": 3, "code": 20, "forums": 2, "notebooks": 3, "papers": 8,
    "encyclopedia": 3, "math": 10, "instruction": 5, "reasoning": 8, "books": 3,
}  # fmt: skip
CAPS = {"books": 4, "encyclopedia": 3, "instruction": 4, "reasoning": 4, "math": 3}


def run_config() -> DataConfig:
    """Nine tenths of the run on all documents, one tenth on the best and on what teaches."""
    main = MixtureConfig(shares=MAIN, max_uses_of=CAPS)
    anneal = MixtureConfig(weights=ANNEAL, max_uses_of=CAPS)
    return DataConfig(
        mixture=main,
        stages=(StageConfig("main", 9 * T), StageConfig("anneal", 1 * T, mixture=anneal)),
        select=SelectConfig(),
        produce=ProduceConfig(num_blocks=1),
    )


def corpus_pools() -> Pools:
    """Two pools a domain: the best, which the anneal takes, and the rest; a byte a token."""
    domains = tuple(sorted(CORPUS))
    best = np.array([BEST if name.startswith("web") else 1.0 for name in domains])
    documents = np.array([CORPUS[name][0] * M for name in domains], np.float64)
    tokens = documents * [CORPUS[name][1] for name in domains]
    codes, share = np.repeat(np.arange(len(domains)), 2), np.stack([best, 1 - best], axis=1).ravel()
    taken = np.stack([np.ones(2 * len(domains), bool), np.tile([True, False], len(domains))])
    return Pools(
        names={"domain": domains, "language": ("",), "source": domains},
        codes={"domain": codes, "language": np.zeros_like(codes), "source": codes},
        taken=taken & (share > 0),
        documents=np.round(documents[codes] * share).astype(np.int64),
        bytes=np.round(tokens[codes] * share).astype(np.int64),
    )


def uses_table(found: Forecast, block_tokens: int) -> Table:
    at = [round(tokens / block_tokens) - 1 for tokens in (2 * T, 4 * T, 6 * T, 8 * T, 9 * T, 10 * T)]
    headers = [f"{(block + 1) * block_tokens / T:.0f}T" for block in at]
    table = Table(
        "domain", "docs, M", "tokens", "share", *headers, "most", "once by", "cap by", title="uses of a document"
    )
    share, once = found.taken / found.taken.sum(axis=1, keepdims=True), found.used_up()
    for i in np.argsort(-found.size).tolist():
        name = found.names[i]
        shares = " → ".join(f"{share[block, i]:.1%}" for block in (0, at[-2], at[-1]))
        table.add_row(
            name,
            f"{CORPUS[name][0]:,}",
            f"{found.size[i] / B:,.0f}B",
            shares,
            *(f"{found.uses[block, i]:.2f}" for block in at),
            f"{found.most_uses[-1, i]:.2f}",
            f"{(once[i] + 1) * block_tokens / T:.2f}T" if once[i] >= 0 else "",
            f"{(found.full[i] + 1) * block_tokens / T:.2f}T" if found.full[i] >= 0 else "",
        )
    return table


def sizes_table(options: argparse.Namespace, found: Forecast) -> Table:
    documents = int(found.documents.sum())
    per_document = found.size / np.maximum(found.documents, 1)
    uses = float((found.taken.sum(axis=0) / per_document).sum())
    seconds = documents * options.select_ns / 1e9 / options.select_cores
    table = Table("what", "how much", "how")
    table.add_row("documents, uses of them", f"{documents / B:,.2f}B, {uses / B:,.1f}B", "by the forecast")
    table.add_row(
        "index", f"{documents * options.index_bytes / 1e9:,.0f} GB", f"{options.index_bytes} bytes a document"
    )
    table.add_row("ledger: uses", f"{documents * options.uses_bytes / 1e9:,.1f} GB", f"{options.uses_bytes} a document")
    journal = uses * options.journal_bytes / 1e9
    table.add_row("ledger: journal", f"{journal:,.0f} GB", f"{options.journal_bytes} a use")
    table.add_row(
        "choosing one block",
        f"{seconds:,.0f} s",
        f"{options.select_ns} ns of CPU a document, {options.select_cores} cores",
    )
    table.add_row(
        "the cluster reads a block in",
        f"{options.block_tokens / options.cluster_tokens_s:,.0f} s",
        f"{options.block_tokens / B:.0f}B tokens at {options.cluster_tokens_s / M:,.1f}M tokens/s",
    )
    table.add_row(
        "producer workers (cores)",
        f"{math.ceil(options.cluster_tokens_s / options.worker_tokens_s):,}",
        f"{options.worker_tokens_s / M:.1f}M tokens/s each",
    )
    return table


def plot(found: Forecast, block_tokens: int, path: Path) -> None:
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5))
    seen = np.arange(1, len(found.uses) + 1) * block_tokens / T
    colours = pyplot.get_cmap("tab20").colors
    order = np.argsort(-found.uses[-1]).tolist()
    for colour, i in zip(colours, order, strict=False):
        left.plot(seen, found.uses[:, i], color=colour, label=found.names[i])
    share = found.taken / found.taken.sum(axis=1, keepdims=True)
    right.stackplot(seen, *(share[:, i] for i in order), colors=colours[: len(order)])
    left.axhline(1, color="black", linewidth=0.7, linestyle=":")
    for axes in (left, right):
        axes.axvline(9, color="grey", linewidth=0.7, linestyle="--")
        axes.set_xlabel("tokens seen, trillions")
    left.set_ylabel("uses of a document, on average")
    right.set_ylabel("share of a block's tokens")
    right.set_ylim(0, 1)
    right.set_xlim(seen[0], seen[-1])
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncol=6, frameon=False)
    figure.tight_layout(rect=(0, 0.1, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10 * T)
    parser.add_argument("--block-tokens", type=int, default=4 * B)
    parser.add_argument("--cluster-tokens-s", type=float, default=10e6, help="what the training reads")
    parser.add_argument("--worker-tokens-s", type=float, default=1.8e6, help="what a core tokenises")
    parser.add_argument("--index-bytes", type=float, default=17.0, help="of a document, a score among them")
    parser.add_argument("--uses-bytes", type=float, default=0.45, help="of a document, compressed")
    parser.add_argument("--journal-bytes", type=float, default=4.7, help="of a use, compressed")
    parser.add_argument(
        "--select-ns", type=float, default=110.0, help="CPU time of choosing, per document of the corpus"
    )
    parser.add_argument("--select-cores", type=int, default=16)
    parser.add_argument("--plot", default="")
    options = parser.parse_args()
    count = round(options.tokens / options.block_tokens)
    config = run_config()
    found = forecast.foretell(config, corpus_pools(), np.ones(len(CORPUS)), [options.block_tokens] * count)
    console = Console(width=150)
    console.print(uses_table(found, options.block_tokens))
    console.print(sizes_table(options, found))
    for line in forecast.warnings(found):
        print(line)
    if options.plot:
        plot(found, options.block_tokens, Path(options.plot))
        print(f"plot: {options.plot}")


if __name__ == "__main__":
    main()
