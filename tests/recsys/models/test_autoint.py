"""AutoInt against loops written from the equations, one number at a time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from recsys.config.sections.learning.models import AutoIntConfig
from recsys.models import AutoInt, build

Floats = npt.NDArray[np.float64]


def _projections(layer: torch.nn.Module, heads: int, parts: int) -> tuple[list[list[Floats]], list[list[Floats]]]:
    """Weight [k, d] and bias [k] of every part (query, key, value, residual) and head, from the fused matrix."""
    state = {name: value.detach().double().numpy() for name, value in layer.state_dict().items()}
    weight = state["projection.weight"]
    bias = state.get("projection.bias", np.zeros(len(weight)))
    return (
        [np.split(part, heads) for part in np.split(weight, parts)],
        [np.split(part, heads) for part in np.split(bias, parts)],
    )


def interacting_layer(layer: torch.nn.Module, rows: Floats, config: AutoIntConfig) -> Floats:
    """Eqs. 5-8 for one sample: `rows` holds a vector per field."""
    code = config.form == "code"
    parts = 4 if config.residual else 3
    weights, biases = _projections(layer, config.heads, parts)

    def project(part: int, head: int, field: int) -> Floats:
        value: Floats = weights[part][head] @ rows[field] + biases[part][head]
        return np.maximum(value, 0) if code else value

    out = []
    for m in range(len(rows)):
        concatenated: list[float] = []
        for h in range(config.heads):
            query = project(0, h, m)
            scores = [float(query @ project(1, h, k)) for k in range(len(rows))]
            if code:
                scores = [score / math.sqrt(len(query)) for score in scores]
            total = sum(math.exp(score) for score in scores)
            mixed = sum(math.exp(s) / total * project(2, h, k) for k, s in enumerate(scores))
            if config.residual:
                mixed = mixed + project(3, h, m)
            concatenated += [max(float(value), 0.0) for value in np.asarray(mixed)]
        out.append(concatenated)
    result = np.array(out)
    if code:
        gain, shift = (value.detach().double().numpy() for value in layer.norm.parameters())  # type: ignore[union-attr]
        centred = result - result.mean(1, keepdims=True)
        result = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-8) * gain + shift
    return result


def logit(model: AutoInt, embedded: Floats, numeric: Floats) -> float:
    vectors = [*embedded]
    if model.numeric_ND is not None:
        vectors += [v * x for v, x in zip(model.numeric_ND.detach().double().numpy(), numeric, strict=True)]
    fields = np.array(vectors)
    first_order = 0.0
    if model.config.wide:
        first_order, fields = float(fields[:, 0].sum()), fields[:, 1:]
    mixed = fields
    for layer in model.layers:
        mixed = interacting_layer(layer, mixed, model.config)
    result = first_order + float(model.output.weight.detach().double().numpy()[0] @ mixed.reshape(-1))
    result += float(model.output.bias.detach())
    if model.mlp is not None:
        hidden = fields.reshape(-1)
        *inner, last = [layer.state_dict() for layer in model.mlp.layers]
        for state in inner:
            hidden = np.maximum(state["weight"].double().numpy() @ hidden + state["bias"].double().numpy(), 0)
        result += float((last["weight"].double().numpy() @ hidden + last["bias"].double().numpy())[0])
    return result


CONFIGS = [
    AutoInt.Config(form="code", layers=2, heads=2, units=8, mlp=()),
    AutoInt.Config(form="paper", layers=2, heads=2, units=4, mlp=()),
    AutoInt.Config(form="code", layers=1, heads=1, units=4, residual=False, mlp=()),
    AutoInt.Config(form="paper", layers=3, heads=3, units=2, residual=False, mlp=()),
    AutoInt.Config(form="code", layers=2, heads=4, units=8, mlp=(6, 5), wide=True),
    AutoInt.Config(form="paper", layers=1, heads=2, units=4, mlp=(6,), dropout=0.5, embedding_dropout=0.5),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("n_sparse", "n_numeric"), [(3, 2), (1, 0), (0, 1), (4, 0), (0, 3)])
def test_equals_the_equations(config: AutoIntConfig, n_sparse: int, n_numeric: int) -> None:
    model = build(config, n_sparse=n_sparse, n_numeric=n_numeric, dim=5, seed=3).eval()
    assert isinstance(model, AutoInt)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # every parameter away from its special initial value (zero bias, unit gain)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    embedded_BFD = torch.randn(3, n_sparse, 5, generator=generator)
    numeric_BN = torch.randn(3, n_numeric, generator=generator)
    expected = [logit(model, e, x) for e, x in zip(embedded_BFD.double().numpy(), numeric_BN.double().numpy())]  # noqa: B905
    with torch.no_grad():
        np.testing.assert_allclose(model(embedded_BFD, numeric_BN)[:, 0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_paper_units_are_per_head_and_code_units_the_total() -> None:
    paper = AutoInt(AutoInt.Config(form="paper", layers=3, units=32, mlp=()), 39, 0, 16)
    code = AutoInt(AutoInt.Config(form="code", layers=3, units=64), 39, 0, 16)
    assert paper.width == code.width == 64
    # Table 3: 3.9e4 parameters beside the embeddings for Criteo. 4 * 16 * 64 + 2 * 4 * 64 * 64 + 39 * 64 + 1.
    assert sum(p.numel() for p in paper.parameters()) == 39_361


def test_39_fields_at_criteo_size() -> None:
    model = build(AutoInt.Config(), n_sparse=26, n_numeric=13, dim=16).eval()
    logits_BT = model(torch.randn(7, 26, 16), torch.randn(7, 13))
    assert logits_BT.shape == (7, 1)
    assert torch.isfinite(logits_BT).all()


def test_initial_weights_have_the_scales_of_the_code() -> None:
    model = build(AutoInt.Config(units=64), n_sparse=36, n_numeric=100, dim=16)
    assert isinstance(model, AutoInt)
    assert model.numeric_ND is not None
    assert float(model.numeric_ND.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert float(model.output.weight.detach().std()) == pytest.approx(math.sqrt(2 / (64 * 136 + 1)), rel=0.1)
    query = model.layers[0].projection.weight[:64]  # type: ignore[union-attr, index]
    assert float(query.detach().abs().max()) == pytest.approx(math.sqrt(6 / (16 + 64)), rel=0.02)


@pytest.mark.parametrize("name", ["dropout", "embedding_dropout", "mlp_dropout"])
def test_each_dropout_acts_in_training_only(name: str) -> None:
    config = AutoInt.Config(layers=1, units=8, mlp=(16,), **{name: 0.5})  # type: ignore[arg-type]
    model = build(config, n_sparse=6, n_numeric=0, dim=4)
    embedded_BFD, numeric_BN = torch.randn(4, 6, 4), torch.zeros(4, 0)
    torch.manual_seed(0)
    assert not torch.equal(model(embedded_BFD, numeric_BN), model(embedded_BFD, numeric_BN))
    model.eval()
    assert torch.equal(model(embedded_BFD, numeric_BN), model(embedded_BFD, numeric_BN))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "tf"}, "form\n.*'paper' or 'code'"),
        ({"heads": 3, "units": 64}, "multiple of heads = 3"),
        ({"layers": 0}, "layers\n.*greater than or equal to 1"),
        ({"dropout": 1.0}, "dropout\n.*less than 1"),
        ({"mlp": (400, 0)}, "mlp.1\n.*greater than or equal to 1"),
    ],
)
def test_wrong_options_are_refused_with_a_remedy(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoIntConfig.model_validate(options)
