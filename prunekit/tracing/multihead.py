"""Multi-head attention that takes its widths from its parameters, so that heads can be removed."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_Projected = tuple[Tensor, Tensor, Tensor]


class CompactMultiheadAttention(nn.MultiheadAttention):
    """
    Multi-head attention whose inner width may be smaller than the width of its input.

    The forward pass of `torch.nn.MultiheadAttention` asserts that its heads fill ``embed_dim``. This one does the same
    with as many heads as ``out_proj`` reads. A network gets it where heads are removed: the class of the layer is
    replaced, its parameters keep their names.

    Notes
    -----
    torch's fused kernels for inference, which read ``in_proj_weight`` by ``embed_dim``, are never used;
    `torch.nn.TransformerEncoderLayer` leaves them too since ``_qkv_same_embed_dim`` is False. Where
    `torch.nn.TransformerEncoder` makes nested tensors of a padded batch, they are padded again for the attention.

    An ``attn_mask`` with an entry for each head of each sample must have one for each head that is left.
    """

    @property
    def _qkv_same_embed_dim(self) -> bool:
        """What torch asks before it takes its fused kernels; kept from the dense layer, this would be True."""
        return False

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """
        Attend, with the arguments of `torch.nn.MultiheadAttention`.

        Parameters
        ----------
        query : Tensor, shape (queries, embed_dim), (queries, batch, embed_dim) or (batch, queries, embed_dim)
            The last one where the layer is ``batch_first``.
        key, value : Tensor
            Of widths ``kdim`` and ``vdim``, in the same layout.
        key_padding_mask : Tensor, shape (batch, keys) or (keys,), default=None
            True, or minus infinity, at keys to leave out.
        need_weights : bool, default=True
            Whether to return the weights as well, which is slower.
        attn_mask : Tensor, shape (queries, keys) or (batch * heads, queries, keys), default=None
            True, or minus infinity, where a query does not see a key.
        average_attn_weights : bool, default=True
            Whether to average the weights over the heads.
        is_causal : bool, default=False
            Hint that `attn_mask` is the causal one.

        Returns
        -------
        tuple of Tensor and (Tensor or None)
            Output in the layout of the query, and weights of shape (batch, queries, keys) or
            (batch, heads, queries, keys).

        Raises
        ------
        ValueError
            If a mask has another shape or data type, if there is none to the hint, or if torch's layer does not take
            such a nested tensor either.
        """
        if query.is_nested:
            masked = key_padding_mask is not None or attn_mask is not None
            if masked or not (self.batch_first and query is key and key is value):
                raise ValueError("Attention to a nested tensor must be batch-first self-attention without masks.")
            return self._forward_nested(query, need_weights, average_attn_weights)
        if is_causal and attn_mask is None:
            raise ValueError("The 'attn_mask' parameter must be a mask where 'is_causal' is True. Got None instead.")
        batched = query.dim() == 3
        q, k, v = (self._batch_first(part) for part in self._project(query, key, value))  # (batch, tokens, inner)
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(k.size(0), -1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(v.size(0), -1, -1)], 1)
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        q, k, v = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (q, k, v))

        causal = is_causal and key_padding_mask is None and not need_weights
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        mask = self._mask(None if causal else attn_mask, key_padding_mask, q, k)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
            weights = F.dropout(torch.softmax(scores if mask is None else scores + mask, -1), dropout)
            attended = weights @ v
            if average_attn_weights:
                weights = weights.mean(1)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
        output = F.linear(attended.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)
        if not batched:
            return output.squeeze(0), weights if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> _Projected:
        """Return query, key and value of all heads, each (…, inner)."""
        packed: Tensor | None = self.in_proj_weight
        bias: Tensor | None = self.in_proj_bias
        if packed is not None and query is key and key is value:
            q, k, v = F.linear(query, packed, bias).chunk(3, -1)
            return q, k, v
        weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight) if packed is None else packed.chunk(3)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        q, k, v = map(F.linear, (query, key, value), weights, biases)
        return q, k, v

    def _batch_first(self, tensor: Tensor) -> Tensor:
        if tensor.dim() == 2:
            return tensor.unsqueeze(0)
        return tensor if self.batch_first else tensor.transpose(0, 1)

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        """Return what to add to the scores, shape (batch or 1, heads or 1, queries or 1, keys)."""
        batch, heads, queries, _ = q.shape
        added = int(self.bias_k is not None) + int(self.add_zero_attn)
        mask = None
        if attn_mask is not None:
            mask = F.pad(_additive(attn_mask, q.dtype), (0, added)) if added else _additive(attn_mask, q.dtype)
            if mask.dim() == 3 and mask.shape == (batch * heads, queries, k.size(2)):
                mask = mask.unflatten(0, (batch, heads))
            elif mask.shape != (queries, k.size(2)):
                allowed = [(*entries, queries, k.size(2) - added) for entries in ((), (batch * heads,))]
                raise ValueError(
                    f"The 'attn_mask' parameter must have the shape {allowed[0]} or {allowed[1]}, for {heads} heads. "
                    f"Got {tuple(attn_mask.shape)} instead."
                )
        if padding is not None:
            padding = _additive(padding, q.dtype)
            padding = (F.pad(padding, (0, added)) if added else padding)[:, None, None, :]
            mask = padding if mask is None else mask + padding
        return mask

    def _forward_nested(self, sequences: Tensor, need_weights: bool, average: bool) -> tuple[Tensor, Tensor | None]:
        """Attend within the sequences of a nested tensor; like those of torch, weights of padding are zero."""
        lengths = [sequence.size(0) for sequence in sequences.unbind()]
        padded = sequences.to_padded_tensor(0.0)
        positions = torch.arange(padded.size(1), device=padded.device)
        padding = positions >= torch.tensor(lengths, device=padded.device)[:, None]
        output, weights = self(padded, padded, padded, padding, need_weights, None, average)
        if weights is not None:
            weights = weights.masked_fill(padding[:, :, None] if average else padding[:, None, :, None], 0.0)
        rows = [row[:length] for row, length in zip(output, lengths, strict=True)]
        return torch.nested.as_nested_tensor(rows), weights


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask to add to scores."""
    if mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise ValueError(f"A mask of an attention must be boolean or floating. Got {mask.dtype} instead.")
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def use_compact_attention_(module: nn.Module) -> None:
    """
    Make one of torch's own attention layers one that takes its widths from its parameters.

    Parameters
    ----------
    module : Module
        Any layer; others than `torch.nn.MultiheadAttention` itself, and those with another forward pass, are left
        alone.
    """
    if type(module) is nn.MultiheadAttention and "forward" not in vars(module):
        module.__class__ = CompactMultiheadAttention
