"""Operations on the last dimensions: pooling, resizing, padding by reflection. They act on each channel alone."""

from prunekit.tracing._call import Call
from prunekit.tracing.rules._registry import rule

_NAMES = {
    1: "avg_pool1d max_pool1d adaptive_avg_pool1d adaptive_max_pool1d upsample_linear1d upsample_nearest1d "
    "_upsample_nearest_exact1d reflection_pad1d replication_pad1d",
    2: "avg_pool2d max_pool2d max_pool2d_with_indices adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d "
    "fractional_max_pool2d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d _upsample_bilinear2d_aa "
    "upsample_bicubic2d _upsample_bicubic2d_aa reflection_pad2d replication_pad2d grid_sampler_2d max_unpool2d "
    "mkldnn_max_pool2d",
    3: "avg_pool3d max_pool3d max_pool3d_with_indices adaptive_avg_pool3d _adaptive_avg_pool3d adaptive_max_pool3d "
    "fractional_max_pool3d upsample_nearest3d _upsample_nearest_exact3d upsample_trilinear3d reflection_pad3d "
    "replication_pad3d grid_sampler_3d max_unpool3d mkldnn_max_pool3d",
}


def _register(spatial_dims: int, names: str) -> None:
    @rule(*names.split(), sizeless=True)
    def act_on_channels(call: Call) -> None:
        source = call.inputs[0]
        first = source.dim() - spatial_dims
        spatial = range(first, source.dim())
        text = f"{call.name} along a labelled dimension"
        mixed = [call.mix(factor, spatial, text) for factor in call.factors(source)]
        kept = [factor for factor in mixed if factor is not None]
        for other in call.inputs[1:]:
            for factor in call.factors(other):
                call.freeze(factor, f"{call.name} by positions that are computed from data")
        for out in call.outputs:
            call.set(out, kept)


for _dims, _group in _NAMES.items():
    _register(_dims, _group)


@rule("im2col")
def im2col(call: Call) -> None:
    """Repeat each channel for every position of the kernel, shape (batch, channels x kernel, windows)."""
    source, positions = call.inputs[0], call["kernel_size"][0] * call["kernel_size"][1]
    kept = []
    for factor in call.factors(source):
        mixed = call.mix(factor, (-2 % source.dim(), -1 % source.dim()), "windows along a labelled dimension")
        if mixed is not None:
            kept.append(mixed.squeeze(-1).repeat_interleave(positions, -2) if mixed.size(-3) > 1 else mixed.squeeze(-1))
    call.set(call.out, kept)


@rule("col2im")
def col2im(call: Call) -> None:
    """Add the windows of each channel up; all positions of a kernel go together."""
    source, positions = call.inputs[0], call["kernel_size"][0] * call["kernel_size"][1]
    kept = []
    for factor in call.factors(source):
        mixed = call.mix(factor, [source.dim() - 1], "windows along a labelled dimension")
        if mixed is None:
            continue
        if mixed.size(-2) > 1:
            channels = mixed.unflatten(-2, (-1, positions))
            mixed = call.collapse(channels, [source.dim() - 1], "positions of a window").squeeze(-2)
        kept.append(mixed.unsqueeze(-1))
    call.set(call.out, kept)


@rule("glu")
def glu(call: Call) -> None:
    """Tie both halves: position i of one gates position i of the other."""
    source = call.inputs[0]
    dim = call["dim"] % source.dim()
    kept = []
    for factor in call.factors(source):
        if factor.size(dim) > 1:
            half = source.size(dim) // 2
            value, gate = factor.narrow(dim, 0, half), factor.narrow(dim, half, half)
            call.tie(value, gate, "gated linear unit")
            kept.append(value)
        else:
            kept.append(factor)
    call.set(call.out, kept)
