"""AutoInt: feature interaction by multi-head self-attention between fields (Song et al., CIKM 2019, arXiv 1810.11921).

Shape suffixes: B rows, C candidates, F sparse fields, N numeric fields, M fields in all, D embedding dimension,
H heads, K head size, W = H * K width of a layer, T tasks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys.config.sections.learning.models import AutoIntConfig
from recsys.errors import InvalidValueError
from recsys.models.base import FieldAxes, RankingModel
from recsys.models.blocks.interacting_attention import InteractingAttention
from recsys.models.blocks.perceptron import Perceptron, drop
from serving.model.autoint.autoint_layers import NORM_EPS


class InteractingLayer(nn.Module):
    """One interacting layer, [B, M, d] -> [B, M, W].

    Paper form (eqs. 5-8): A_h = softmax(Q_h K_h^T), E' = relu(concat_h(A_h V_h) + E W_res), all projections linear.
    Code form: every projection, the residual one too, has a bias and a ReLU, scores are divided by sqrt(K), and a
    LayerNorm follows. One matrix product computes all projections.
    """

    def __init__(
        self, width_in: int, heads: int, head_size: int, *, code_form: bool, residual: bool, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.head_size, self.dropout = heads, head_size, dropout
        self.code_form, self.residual = code_form, residual
        self.width = heads * head_size
        self.parts = 4 if residual else 3
        self.scale = head_size**-0.5 if code_form else 1.0
        self.projection = nn.Linear(width_in, self.parts * self.width, bias=code_form)
        for weight in torch.split(self.projection.weight, self.width):
            nn.init.xavier_uniform_(weight)
        if code_form:
            nn.init.zeros_(self.projection.bias)
        self.norm = nn.LayerNorm(self.width, eps=NORM_EPS) if code_form else nn.Identity()

    def forward(self, fields_BMd: Tensor) -> Tensor:
        drops = self.dropout > 0 and self.training
        by_hand = fields_BMd.is_cpu and not drops and not torch.is_autocast_enabled("cpu")
        normed: Tensor = self.norm(self._by_hand(fields_BMd) if by_hand else self._composed(fields_BMd))
        return normed

    def _by_hand(self, fields_BMd: Tensor) -> Tensor:
        weight, bias = self.projection.weight, self.projection.bias
        out: Tensor = InteractingAttention.apply(fields_BMd, weight, bias, self.heads, self.parts, self.scale)
        return out

    def _composed(self, fields_BMd: Tensor) -> Tensor:
        """As `InteractingAttention`, with dropout, in any precision and on any device."""
        batch, fields, _ = fields_BMd.shape
        projected = self.projection(fields_BMd.flatten(0, 1))
        if self.code_form:
            projected = projected.relu_()  # in place: no gradient needs the value before
        projected = projected.view(batch, fields, self.parts * self.width)
        heads, *residual = torch.split(projected, [3 * self.width, self.width][: self.parts - 2], -1)
        query, key, value = heads.view(batch, fields, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4).unbind(0)
        mixed_BHMK = self._attend(query, key, value)
        out = mixed_BHMK.transpose(1, 2).reshape(batch, fields, self.width)
        return (out + residual[0]).relu_() if residual else functional.relu(out)

    def forward_by_head(self, fields_BMd: Tensor) -> Tensor:
        """As `forward` in evaluation, in one product per head and part.

        Inference engines copy memory for every split and transpose. This form needs neither, and slices of weights are
        folded when the graph is loaded: in OpenVINO it takes two thirds of the fused form's time.
        """
        mixed = [
            torch.softmax(query @ key.transpose(1, 2), -1) @ value
            for query, key, value in (self._project_head(fields_BMd, head) for head in range(self.heads))
        ]
        out = torch.cat(mixed, -1)
        if self.residual:
            out = out + self._project_rows(fields_BMd, 3 * self.width, self.width)
        normed: Tensor = self.norm(functional.relu(out))
        return normed

    def attention(self, fields_BMd: Tensor) -> Tensor:
        """What each field takes from each, [B, H, M, M]: the last axis sums to 1."""
        projected = (self._project_head(fields_BMd, head) for head in range(self.heads))
        return torch.stack([torch.softmax(query @ key.transpose(1, 2), -1) for query, key, _ in projected], 1)

    def _project_head(self, fields_BMd: Tensor, head: int) -> list[Tensor]:
        """Scaled query, key and value of one head, [B, M, K] each."""
        starts = [part * self.width + head * self.head_size for part in range(3)]
        scales = (self.scale, 1.0, 1.0)
        return [
            self._project_rows(fields_BMd, start, self.head_size, scale)
            for start, scale in zip(starts, scales, strict=True)
        ]

    def _project_rows(self, fields_BMd: Tensor, start: int, size: int, scale: float = 1.0) -> Tensor:
        """The projection onto some rows of the fused matrix, times a positive factor (which passes the ReLU)."""
        rows = slice(start, start + size)
        weight, bias = self.projection.weight[rows], self.projection.bias
        if not self.code_form:
            return functional.linear(fields_BMd, weight)
        return functional.relu(functional.linear(fields_BMd, weight * scale, bias[rows] * scale))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)


class AutoInt(RankingModel):
    """AutoInt, and with `mlp` AutoInt+, in the paper's or in the official code's form.

    For each task: logit = w^T flatten(E^(L)) + b, plus the logit of a perceptron over the flattened embeddings
    (AutoInt+), plus the sum of the fields' first-order weights (`wide`), which the tasks share.
    """

    Config = AutoIntConfig

    def __init__(self, config: AutoIntConfig, n_sparse: int, n_numeric: int, dim: int, tasks: int = 1) -> None:
        super().__init__(n_sparse, n_numeric, dim, tasks)
        if config.wide and dim < 2:
            raise InvalidValueError("wide takes one coordinate of each row: the embedding dimension must be at least 2")
        self.config: AutoIntConfig = config
        code_form = config.form == "code"
        head_size = config.units // config.heads if code_form else config.units
        self.width = config.heads * head_size
        self.vector_dim = dim - config.wide
        widths = [self.vector_dim, *[self.width] * (config.layers - 1)]
        self.layers = nn.ModuleList(
            InteractingLayer(
                width, config.heads, head_size, code_form=code_form, residual=config.residual, dropout=config.dropout
            )
            for width in widths
        )
        self.output = nn.Linear(self.n_fields * self.width, tasks)
        nn.init.normal_(self.output.weight, std=math.sqrt(2 / (self.n_fields * self.width + tasks)))
        nn.init.zeros_(self.output.bias)
        self.mlp = None
        if config.mlp:
            sizes = self.n_fields, self.vector_dim, config.mlp
            self.mlp = Perceptron(*sizes, config.mlp_dropout, tasks, norm=config.mlp_norm)

    def by_field(self) -> dict[str, FieldAxes]:
        return super().by_field() | {"output.weight": FieldAxes((1,), starts_at_zero=True)}

    @property
    def widest(self) -> int:
        return self.n_fields * max(self.dim, (3 + self.config.residual) * self.width)

    def forward(self, embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
        fields_BMD = self.fields(embedded_BFD, numeric_BN)
        fields_BMD = drop(fields_BMD, self.config.embedding_dropout, self.training)
        first_order_B1, vectors = self._split_wide(fields_BMD)
        mixed = vectors
        for layer in self.layers:
            mixed = layer(mixed)
        logits_BT: Tensor = self.output(mixed.flatten(1))
        if self.mlp is not None:
            logits_BT = logits_BT + self.mlp(vectors)
        return logits_BT if first_order_B1 is None else logits_BT + first_order_B1

    def forward_split(self, request_1FD: Tensor, item_CFD: Tensor, request_1N: Tensor, item_CN: Tensor) -> Tensor:
        request_1MD, item_CMD, order = self.fields_split(request_1FD, item_CFD, request_1N, item_CN)
        request_first, request = self._split_wide(request_1MD)
        item_first, item = self._split_wide(item_CMD)
        mixed = torch.cat([request.expand(item.shape[0], -1, -1), item], 1)
        for layer in self.layers:
            assert isinstance(layer, InteractingLayer)
            mixed = layer.forward_by_head(mixed)
        weight = self.output.weight.view(self.tasks, self.n_fields, self.width)[:, order].flatten(1)
        logits_CT = functional.linear(mixed.flatten(1), weight, self.output.bias)
        if self.mlp is not None:
            logits_CT = logits_CT + self.mlp.forward_split(request, item, order)
        if request_first is not None and item_first is not None:
            logits_CT = logits_CT + request_first + item_first
        return logits_CT

    def _split_wide(self, fields_BMD: Tensor) -> tuple[Tensor | None, Tensor]:
        if not self.config.wide:
            return None, fields_BMD
        return fields_BMD[..., 0].sum(1, keepdim=True), fields_BMD[..., 1:]
