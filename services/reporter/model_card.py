"""`MODEL_CARD.md`: what a model is, how good it is and what it is not for. Every figure is one of the facts.

Front matter as the Hugging Face Hub reads it; its values are JSON, which YAML includes.
"""

import json

from services.reporter import grounding, parts, plan, reading
from services.reporter.derived import comparable, took_part
from services.reporter.fact_table import Table
from services.reporter.fact_table import table as table_of
from services.reporter.facts import RunFacts
from services.reporter.markdown import bullets, count, inline, table
from services.reporter.reading import agreed
from services.reporter.score_facts import CurveFacts

_METRICS = {
    "average_precision": "Average precision",
    "roc_auc": "AUROC",
    "log_loss": "Log loss",
    "prevalence": "Share of frauds",
    "recall_at_half_percent": "Recall at 0.5 % alerts",
    "recall_at_one_percent": "Recall at 1 % alerts",
}
_SETS = {"holdout": "the public hold-out", "pooled": "all banks' validation rows"}


def render(run: RunFacts, logit_adjustment: bool) -> str:
    """The card of a run that ended with a model."""
    parts = [
        _front_matter(run),
        f"# Fraud model of run {inline(run.run.id)}",
        _about(run),
        "## Use",
        _use(run),
        "## Probabilities",
        _probabilities(run, logit_adjustment),
        "## How good it is",
        reading.verdict(run),
        reading.central(run),
        _scores(run, table_of(run)),
        _banks(run),
        "## Training data and privacy",
        _data(run),
        "## Limits",
        _limits(run),
        "## Lineage",
        _lineage(run),
    ]
    return grounding.fill("\n\n".join(part for part in parts if part), table_of(run)) + "\n"


def _front_matter(run: RunFacts) -> str:
    sets = [(title, scores) for name, title in _SETS.items() if (scores := getattr(run.final, name))]
    results = [
        {
            "task": {"type": "tabular-classification", "name": "fraud detection"},
            "dataset": {"type": run.run.population, "name": f"{run.run.population}: {title}"},
            "metrics": [
                {"type": metric, "name": name, "value": value}
                for metric, name in _METRICS.items()
                if (value := getattr(scores, metric)) is not None
            ],
        }
        for title, scores in sets
    ]
    fields: dict[str, object] = {
        "library_name": "onnx",
        "pipeline_tag": "tabular-classification",
        "tags": ["fraud-detection", "federated-learning", "tabular-classification"],
        "model-index": [{"name": f"fedfraud-{run.run.id}", "results": results}],
        "run_id": run.run.id,
        "model_sha256": run.run.model_sha256,
        "vector_sha256": run.run.vector_sha256,
        "journal_sequence": run.run.journal_sequence,
        "journal_head": run.run.journal_head,
        "code_version": run.code.version,
        "code_commit": run.code.commit,
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _about(run: RunFacts) -> str:
    layers = "-".join(str(width) for width in run.run.layers)
    trained = f"{count(took_part(run), 'bank')} in {count(run.totals.training_rounds, 'training round')}"
    return (
        f"A multi-layer perceptron {layers} with ReLU ({run.run.parameter_count or 0:,} parameters) that gives a "
        f"transaction's probability of fraud. It was trained by federated averaging at {trained} with the recipe "
        f"{inline(run.run.recipe)}; no transaction left a bank. {reading.ending(run)}"
    )


def _use(run: RunFacts) -> str:
    files = [
        "`model.onnx`: raw features in, probability out; standardisation and sigmoid are inside.",
        "`model.safetensors`: the same weights as tensors, for standardised features.",
        "`model.json`: features, scaler, hashes.",
    ]
    example = (
        "```python\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession('model.onnx')\n"
        "# features: float32 (rows, features), in this order; gives (rows,)\n"
        "(probability,) = session.run(['probability'], {'features': features})\n```"
    )
    header, rows = ["Feature", "unit", "mean", "deviation"], []
    for feature in run.run.features:
        numbers = [_figure(feature.mean), _figure(feature.deviation)]
        rows.append([inline(feature.name), inline(feature.unit), *numbers])
    return "\n\n".join([bullets(files), example, table(header, rows) if rows else ""]).strip()


def _probabilities(run: RunFacts, logit_adjustment: bool) -> str:
    state = run.run.run_state
    if logit_adjustment and state:
        how = (
            "Banks trained with logit adjustment: the network's output is a log likelihood ratio, and the pooled "
            f"log-odds of fraud ({state.training_frauds:,} of {state.training_rows:,} training rows, with the prior "
            "(f + 1) / (n + 2)) are added before the sigmoid. Where frauds are more or less common, add the difference "
            "in log-odds."
        )
    else:
        how = (
            "The recipe trains on cross-entropy without reweighting, so the sigmoid of the network's output is the "
            "probability; nothing is added to it."
        )
    told = f"{how} {_recalibration(run)}"
    bands = [_bands(getattr(run.final, f"{name}_curve"), title) for name, title in _SETS.items()]
    return "\n\n".join([told, *(band for band in bands if band)])


def _recalibration(run: RunFacts) -> str:
    fit = run.final.recalibration
    if fit is None:
        return "No further calibration was fitted."
    return (
        "These files have no further calibration in them. On all banks' validation rows probabilities fit best with a "
        f"slope of {_figure(fit.slope)} and an intercept of {_figure(fit.intercept)} on their log-odds, fitted there."
    )


def _bands(curve: CurveFacts | None, title: str) -> str:
    if curve is None or not curve.calibration:
        return ""
    rows = [[f"{band.rows:,}", _figure(band.expected_rate), _figure(band.observed_rate)] for band in curve.calibration]
    lead = f"Expected and observed share of frauds on {title}, the highest scores first:"
    return f"{lead}\n\n{table(['Rows', 'expected', 'observed'], rows)}"


def _scores(run: RunFacts, facts: Table) -> str:
    """Printed as the report prints them."""
    found = [(f"final.{name}", title) for name, title in _SETS.items() if getattr(run.final, name)]
    if run.final.central:
        place = _SETS["holdout" if run.final.holdout else "pooled"] if comparable(run) else "other rows"
        found.append(("final.central", f"{place}, trained on all rows in one place"))
    if not found:
        return "No model was measured."
    names = (*_METRICS, "row_count", "fraud_count")
    rows = [[title, *(parts.cell(facts, f"{key}.{name}") for name in names)] for key, title in found]
    return table(["", *_METRICS.values(), "rows", "frauds"], rows)


def _banks(run: RunFacts) -> str:
    final = run.final
    if not final.banks_compared:
        return "Of no bank is it known how it fares alone and with the model."
    counts = (
        f"{final.banks_gaining} {agreed(final.banks_gaining, 'gains', 'gain')} against training alone",
        f"{final.banks_unchanged} {agreed(final.banks_unchanged, 'is', 'are')} as before at the printed precision",
        f"{final.banks_losing} {agreed(final.banks_losing, 'loses', 'lose')}",
    )
    unknown = f" Of {count(final.banks_uncompared, 'bank')} it is not known." if final.banks_uncompared else ""
    return (
        f"Of {count(final.banks_compared, 'bank')} that {agreed(final.banks_compared, 'discloses', 'disclose')} both "
        f"figures, {', '.join(counts)}, in average precision on their own validation rows.{unknown}"
    )


def _data(run: RunFacts) -> str:
    state = run.run.run_state
    rows = f"{state.training_rows:,} training rows, {state.training_frauds:,} of them frauds" if state else "rows"
    masks = {"masked": "under masks that cancel in the sum alone", "plain": "as plain integers over mutual TLS"}
    how = masks.get(run.release.protection, "in a way that the journal does not name")
    told = (
        f"Population {inline(run.run.population)}; {rows}, each bank's on its own disk. What left the banks were sums "
        f"of integers, {how}, and the figures that a bank disclosed; the report's release record lists them."
    )
    return "\n\n".join([told, *([bullets(days)] if (days := plan.told(run)) else [])])


def _limits(run: RunFacts) -> str:
    found = [
        "Made to rank transactions for review by people, not to decline one by itself.",
        "Trained and measured on the rows above alone: measure it on the latest labelled rows before use, and again "
        "when fraud, features or the share of frauds change.",
        "Labels are taken as given; frauds that nobody found count as legitimate.",
        f"{reading.noise(run)} Weights may say something of the training rows.",
    ]
    if run.final.banks_losing:
        found.append(f"{count(run.final.banks_losing, 'bank')} did better alone.")
    return bullets(found)


def _lineage(run: RunFacts) -> str:
    r = run.run
    rows = [
        ["Model SHA-256", r.model_sha256 or "none"],
        ["Vector SHA-256", r.vector_sha256 or "none"],
        ["Journal", f"entry {r.journal_sequence}, head {r.journal_head}"],
        ["Code", f"version {inline(run.code.version)}, commit {inline(run.code.commit)}"],
        ["Run", inline(r.id)],
        ["Seed", str(r.seed)],
        ["Recipe", f"{inline(r.recipe)}: {inline(', '.join(f'{k} {v}' for k, v in r.hyperparameters.items()), 400)}"],
    ]
    check = (
        "`python -m services.reporter check-model FOLDER` says whether these files belong together and to a journal."
    )
    return f"{table(['', ''], rows)}\n\n{check}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
