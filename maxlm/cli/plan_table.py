"""The answer of `maxlm plan` as tables for a person."""

from typing import Any

from rich.console import Console
from rich.table import Table

_SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def show(found: dict[str, Any], suggested: bool) -> None:
    """Prints what maxlm/scaling/answer.py made; `suggested`: the model's shape is ours, not a config's."""
    console = Console(highlight=False)
    console.print(_run_table(found))
    console.print(_laws_table(found))
    if "model" in found:
        console.print(_shape_line(found, suggested), soft_wrap=True)
        if not suggested or "suggested" in found:
            console.print(_model_table(found))
        console.print(_memory_table(found))
    for text in found["assumptions"]:
        console.print(f"assumed: {text}", soft_wrap=True)
    warnings = [*found["warnings"], found.get("inference", {}).get("warning")]
    for text in filter(None, warnings):
        console.print(f"warning: {text}", soft_wrap=True, style="bold")
    if "suggested" in found:
        at = f", fits {found['suggested']['topology']}: {found['suggested']['memory_share']:.0%} of HBM" if (
            "topology" in found["suggested"]
        ) else ""  # fmt: skip
        console.print(f"wrote {found['suggested']['file']}{at}", soft_wrap=True)


def _run_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"the run, by {found['law']}", show_header="versus" in found)
    runs = [found, found["versus"]] if "versus" in found else [found]
    table.add_column("")
    for run in runs:
        table.add_column(amount(run["parameters"]), justify="right")

    def row(name: str, key: str, show: Any) -> None:
        if any(run[key] is not None for run in runs):
            table.add_row(name, *("–" if run[key] is None else show(run[key]) for run in runs))

    row("parameters N", "parameters", amount)
    row("tokens D", "tokens", amount)
    row("tokens per parameter", "tokens_per_parameter", lambda v: f"{v:.1f}")
    row("compute C", "flops", lambda v: f"{v:.3g} FLOPs")
    row("", "pf_days", lambda v: f"{v:,.4g} PF-days")
    row("predicted loss", "loss", lambda v: f"{v:.3f}")
    row("  its 95 % interval", "loss_interval", lambda v: f"{v[0]:.3f} to {v[1]:.3f}")
    row("epochs", "epochs", lambda v: f"{v:.2f}")
    row("chips", "chips", lambda v: f"{v:,.4g} × {found['chip'] or '?'}")
    row("days", "days", lambda v: f"{v:,.4g}")
    row("MFU", "mfu", lambda v: f"{v:.1%}")
    row("tokens per second", "tokens_per_s", lambda v: f"{v:,.4g}")
    row("chip hours", "chip_hours", lambda v: f"{v:,.4g}")
    row("cost", "cost", lambda v: f"{v:,.0f}")
    return table


def _laws_table(found: dict[str, Any]) -> Table:
    table = Table("law", "N", "D", "loss", title=f"the best of {found['flops']:.3g} FLOPs by each law")
    for name, best in found["laws"].items():
        loss = "" if best["loss"] is None else f"{best['loss']:.3f}"
        table.add_row(name, amount(best["parameters"]), amount(best["tokens"]), loss)
    return table


def _shape_line(found: dict[str, Any], suggested: bool) -> str:
    model, config = found["model"], found["model"]["config"]
    title = f"{'suggested: ' if suggested else ''}{model['parameters']:,} parameters: {config['num_layers']} layers, "
    title += f"{config['embed']} wide, {config['num_heads']}/{config['num_kv_heads']} heads of {config['head_dim']}, "
    title += f"mlp {config['mlp']}, vocabulary {config['vocab_size']}{', tied' if config['tie_embeddings'] else ''}"
    return title


def _model_table(found: dict[str, Any]) -> Table:
    model = found["model"]
    table = Table("matrix", "shape", "copies", "parameters", "FLOPs a token", title="forward FLOPs, matrix by matrix")
    forward = model["forward_flops_per_token"]
    for name, tensor in model["tensors"].items():
        output = (
            name if name in forward else "output" if name == "embedding" and "output" not in model["tensors"] else ""
        )
        flops = f"{forward[output]:,.0f}" if output else ""
        shape = "×".join(map(str, tensor["shape"]))
        table.add_row(name, shape, str(tensor["copies"]), f"{tensor['parameters']:,}", flops)
    table.add_row("attention", f"{model['seq_len']} tokens", "", "", f"{forward['attention']:,.0f}")
    per = model["flops_per_token"]
    for name, key in (("forward", "forward"), ("backward", "backward"), ("made anew", "recomputed"),
                      ("both", "model"), ("  whole square", "model_whole_square"), ("6N", "6N")):  # fmt: skip
        table.add_row(name, "", "", "", f"{per[key]:,.0f}")
    table.add_row("C of these tokens", "", "", "", f"{model['flops']:.4g}")
    table.add_row("6ND", "", "", "", f"{model['flops_6nd']:.4g}")
    return table


def _memory_table(found: dict[str, Any]) -> Table:
    training, use = found.get("training_memory"), found["inference"]
    table = Table("memory", "GiB", title=f"memory; used on {use['chip']}")
    if training is not None:
        mesh = " ".join(f"{axis}={size}" for axis, size in training["mesh"].items() if size > 1) or "one device"
        for name, gib in training["gib"].items():
            table.add_row(f"training on {mesh}" if name == "total" else f"  {name}", f"{gib:,.2f}")
        table.add_row("  rows a step, parts", f"{training['batch']} in {training['accumulate']}")
        if "share" in training:
            table.add_row(f"  of {training['chip']}", f"{training['share']:.0%}")
    table.add_row(f"weights in use, {use['weight_bits']} bits", f"{use['weights_gib']:,.2f}")
    table.add_row(f"cache of {use['batch']} × {use['context']} tokens", f"{use['cache_gib']:,.2f}")
    table.add_row(f"cards of {use['usable_gib_per_card']:.1f} usable GiB", f"{use['cards']} ({use['share']:.0%} full)")
    return table


def amount(value: float) -> str:
    """A large number as people say it: 72.2B."""
    for suffix, factor in reversed(_SUFFIXES.items()):
        if value >= factor:
            return f"{value / factor:.4g}{suffix}"
    return f"{value:.4g}"
