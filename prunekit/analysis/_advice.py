"""What to change in a model's code so that more of it can be pruned."""

import re

from prunekit.tracing import Reason

_TABLE = (
    (
        r"network output$",
        "Nothing to change: these filters are what the network returns.",
    ),
    (
        r"(excluded|not included) by the user",
        "Change 'include' or 'exclude' of the pruner, which keep these filters.",
    ),
    (
        r'.*norms="subset"',
        'Pass norms="subset" to TaylorPruner or PrunableNetwork: channels may then go, and the layer normalises over '
        "those that are left. Fine-tune in small steps.",
    ),
    (
        r"layer norm normalises over a fixed number",
        "Take the shape from the tensor in place of a number: F.layer_norm(x, x.shape[-1:], weight, bias), or use "
        "nn.LayerNorm.",
    ),
    (
        r"(layer norm normalises|group norm with one group)",
        "Normalise in a module of its own with a weight (nn.LayerNorm over the last dimension, nn.RMSNorm) and pass "
        'norms="subset", or use batch norm.',
    ),
    (
        r"(batch|group) norm over a labelled dimension",
        "Normalise before channels are moved to another dimension than the second.",
    ),
    (
        r"(the model's code fixes|a number computed from a size|the model's code gives it other arguments)",
        "Replace the number in this line by a size of the tensor or an attribute of the layer: x.flatten(1) or "
        "x.view(x.size(0), -1) for x.view(-1, 256), x.chunk(2, 1) for x.split(128, 1).",
    ),
    (
        r"(with fewer channels the model's code puts them|the compacted network ends early)",
        "Let this line not depend on the number of channels, neither by a branch nor by computed positions.",
    ),
    (
        r"(combined with a tensor whose channels always stay|concatenated across its channels)",
        "Send the other tensor, such as the network's input, through a 1x1 convolution or a linear layer of its own "
        "before the two are combined.",
    ),
    (
        r"grouped convolution of channels that always stay",
        "Use groups=1, or put a 1x1 convolution before the grouped one.",
    ),
    (
        r"(position inside of a group|grouped convolution)",
        "A whole group is the unit; use more groups, or groups=1.",
    ),
    (
        r"(softmax|log_softmax|gumbel_softmax|cum\w+|logcumsumexp|sort|topk|kthvalue|mode|renorm) over channels",
        "Let this operation work along another dimension, or put a convolution or linear layer before it: the layer "
        "that it reads must then stay, all before that one may go.",
    ),
    (
        r"\w+ over channels|\w+ of two tensors",
        "Replace the reduction over channels by a convolution or linear layer with one filter, or put such a layer "
        "before it.",
    ),
    (
        r"(width of a single attention head|summed over in an attention|attention with a tensor|mask of an attention)",
        "Use several heads, shaped (batch, heads, tokens, width): whole heads can go.",
    ),
    (
        r"summed over in a product",
        "Shape what is multiplied as (batch, heads, tokens, width) with several heads, or use "
        "F.scaled_dot_product_attention: whole heads can go.",
    ),
    (
        r"(its \d+ filters can only be removed together|cut into equal pieces|one of several equal pieces)",
        "All filters of the layer are tied to each other. Use a layer for each piece or group, or more groups.",
    ),
    (
        r"one channel alone makes up a whole tensor|the network does not run with less than",
        "Nothing to change: fewer channels than these would leave nothing to compute with. Wider layers can lose some.",
    ),
    (
        r"(selected by an index|entry of an embedding|.* of a part of a tensor|squeezed along|.* by positions that)",
        "Use slices, split or chunk along the channels in place of index tensors and of writing into parts.",
    ),
    (
        r".*(weight that is computed by the model's code|whose columns cannot be told apart|parameter that is merged)",
        "Hold the weight as a parameter of a convolution or linear layer, computed by torch.nn.utils.parametrize if it "
        "must be.",
    ),
    (
        r"(convolved|labelled|windows|\w+) (along|outside of) ",
        "Move the channels back to their dimension (the second, the last for linear layers) before this operation.",
    ),
    (
        r"(reads|normalises|bias of) channels that always stay",
        "It follows from what it reads: see what keeps the layer before it.",
    ),
    (
        r"unknown operation",
        "Replace the operation by others that do the same, or put a convolution or linear layer before it: the layer "
        "that it reads must then stay, all before that one may go. Please report the operation.",
    ),
)

_OTHERWISE = (
    "Put a convolution or linear layer before this operation, or write it with others. Please report this reason."
)

_COMPILED = tuple((re.compile(pattern), advice) for pattern, advice in _TABLE)


def advice_for(reason: Reason) -> str:
    """
    Return what to change in the model's code, or in the pruner, so that a filter can be removed.

    Parameters
    ----------
    reason : Reason
        Why it cannot.

    Returns
    -------
    str
        One or two sentences.
    """
    return next((advice for pattern, advice in _COMPILED if pattern.match(reason.text)), _OTHERWISE)
