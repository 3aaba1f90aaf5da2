"""The networks of the zoo, by list: torchvision's, timm's and transformers' own, with random weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.torchvision_shim import torchvision_models

Built = tuple[nn.Module, Any]


@dataclass(frozen=True)
class Entry:
    """
    A network of a list.

    Parameters
    ----------
    list : str
        Name of the list.
    name : str
        Name of the network in it.
    build : callable
        Returns the network with random weights and example inputs of two samples.
    """

    list: str
    name: str
    build: Callable[[], Built]


def entries(lists: tuple[str, ...], pattern: str = "*") -> Iterator[Entry]:
    """Yield the networks of some lists whose name, or list and name, match a pattern."""
    for listed in lists:
        for name, build in LISTS[listed].items():
            if fnmatchcase(name, pattern) or fnmatchcase(f"{listed}/{name}", pattern):
                yield Entry(listed, name, build)


def _noise(*shape: int) -> Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


# -- torchvision ------------------------------------------------------------------------------------------------------

_CLASSIFICATION = {
    "alexnet": 224,
    "convnext_tiny": 224,
    "densenet121": 224,
    "efficientnet_b0": 224,
    "efficientnet_v2_s": 224,
    "googlenet": 224,
    "inception_v3": 299,
    "maxvit_t": 224,
    "mnasnet1_0": 224,
    "mobilenet_v2": 224,
    "mobilenet_v3_large": 224,
    "mobilenet_v3_small": 224,
    "regnet_x_400mf": 224,
    "regnet_y_400mf": 224,
    "resnet18": 224,
    "resnet50": 224,
    "resnext50_32x4d": 224,
    "shufflenet_v2_x1_0": 224,
    "squeezenet1_1": 224,
    "swin_t": 224,
    "swin_v2_t": 256,
    "vgg11": 224,
    "vgg16_bn": 224,
    "vit_b_16": 224,
    "vit_b_32": 224,
    "wide_resnet50_2": 224,
}
_SEGMENTATION = (
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet50",
    "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
)
_VIDEO = {
    "mc3_18": (8, 112),
    "mvit_v1_b": (16, 224),
    "mvit_v2_s": (16, 224),
    "r2plus1d_18": (8, 112),
    "r3d_18": (8, 112),
    "s3d": (16, 224),
    "swin3d_t": (8, 112),
}
_DETECTION = {"retinanet_resnet50_fpn": 224, "ssdlite320_mobilenet_v3_large": 320}
_NO_INITIALISATION = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}


def _torchvision(name: str, *size: int) -> Built:
    models = torchvision_models()
    return models.get_model(name, weights=None, **_NO_INITIALISATION.get(name, {})), _noise(3, *size)


def _segmentation(name: str) -> Built:
    return torchvision_models().get_model(name, weights=None, weights_backbone=None), _noise(3, 224, 224)


def _backbone(name: str, size: int) -> Built:
    detector = torchvision_models().get_model(name, weights=None, weights_backbone=None)
    return detector.backbone, _noise(3, size, size)


def _torchvision_list() -> dict[str, Callable[[], Built]]:
    builders: dict[str, Callable[[], Built]] = {}
    for name, size in _CLASSIFICATION.items():
        builders[name] = partial(_torchvision, name, size, size)
    for name in _SEGMENTATION:
        builders[name] = partial(_segmentation, name)
    for name, (frames, size) in _VIDEO.items():
        builders[name] = partial(_torchvision, name, frames, size, size)
    for name, size in _DETECTION.items():
        builders[f"{name}.backbone"] = partial(_backbone, name, size)
    return builders


# -- timm -------------------------------------------------------------------------------------------------------------

_TIMM = """
beit_base_patch16_224 botnet26t_256 caformer_s18 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convformer_s18
convit_tiny convmixer_768_32 convnext_atto convnextv2_atto cpubone_nano crossvit_tiny_240 cs3darknet_s csatv2
cspdarknet53 cspnext_tiny cspresnet50 darknet53 davit_tiny deit3_small_patch16_224 deit_tiny_distilled_patch16_224
densenet121 dla34 dpn68 eca_halonext26ts eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientnet_lite0 efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_dw
eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100 fbnetv3_b flexivit_small focalnet_tiny_srf gcvit_xxtiny
gernet_s ghostnet_100 ghostnetv2_100 ghostnetv3_100 gmlp_s16_224 hardcorenas_a hgnet_tiny hgnetv2_b0 hiera_tiny_224
hieradet_small hrnet_w18_small iformer_t inception_next_tiny inception_resnet_v2 inception_v4 lambda_resnet26t
lcnet_050 lcnetv2_small legacy_seresnet18 legacy_xception levit_128s lowformer_b0 mambaout_femto
maxvit_rmlp_pico_rw_256 mixer_s32_224 mixnet_s mnasnet_small mobilenetv1_100 mobilenetv3_small_100
mobilenetv4_conv_small mobilenetv4_hybrid_medium mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
naflexvit_base_patch16_gap nest_tiny nextvit_small pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnetx_002
regnety_002 regnetz_b16 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest14d resnet50d
resnetv2_18 rexnet_100 selecsls42 sequencer2d_s seresnet50 shvit_s1 skresnet18 starnet_s1 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window8_256 tf_efficientnetv2_b0 tiny_vit_5m_224 tinynet_e
tnt_s_legacy_patch16_224 tresnet_m twins_pcpvt_small twins_svt_small vgg11 visformer_tiny vit_relpos_small_patch16_224
vit_small_r26_s32_224 vit_tiny_patch16_224 vitamin_small_224 volo_d1_224 xception41 xcit_nano_12_p16_224
""".split()  # noqa: SIM905


def _timm(name: str) -> Built:
    torchvision_models()  # which timm imports
    import timm

    network: Any = timm.create_model(name, pretrained=False)
    return network, _noise(*network.pretrained_cfg["input_size"])


# -- transformers -----------------------------------------------------------------------------------------------------

_VISION = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 768}
_TEXT = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
_DECODER = _TEXT | {"num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_T5 = {"vocab_size": 1000, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
_ENCODER_DECODER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
}
_SEQ2SEQ = _ENCODER_DECODER | {"vocab_size": 1000}
_AUDIO = {
    "vocab_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _transformers(config: str, model: str, options: dict[str, Any], inputs: Callable[[], Any]) -> Built:
    torchvision_models()  # which transformers imports
    import transformers

    network = getattr(transformers, model)(getattr(transformers, config)(**options))
    return network, inputs()


def _tokens() -> dict[str, Tensor]:
    ids = torch.randint(3, 1000, (2, 16), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _decoded() -> dict[str, Any]:
    return _tokens() | {"use_cache": False}


def _state_space() -> dict[str, Any]:
    return {"input_ids": _tokens()["input_ids"], "use_cache": False}


def _translated() -> dict[str, Any]:
    return _decoded() | {"decoder_input_ids": _tokens()["input_ids"][:, :8]}


def _both() -> dict[str, Tensor]:
    return _tokens() | {"pixel_values": _noise(3, 224, 224)}


def _spectrogram() -> dict[str, Tensor]:
    return {"input_features": _noise(80, 200)}


def _unmasked() -> dict[str, Tensor]:
    return {"pixel_values": _noise(3, 224, 224), "noise": _noise(196)}  # which otherwise is drawn anew each time


def _pixels(size: int = 224) -> dict[str, Tensor]:
    return {"pixel_values": _noise(3, size, size)}


def _waveform() -> dict[str, Tensor]:
    return {"input_values": _noise(16000)}


Described = tuple[str, str, dict[str, Any]]
"""Class of the configuration, class of the network, and what differs from the configuration's defaults."""

_IMAGES: dict[str, Described] = {
    "beit": ("BeitConfig", "BeitForImageClassification", _VISION),
    "clip_vision": ("CLIPVisionConfig", "CLIPVisionModel", _TEXT | {"image_size": 224, "patch_size": 16}),
    "convnext": (
        "ConvNextConfig",
        "ConvNextForImageClassification",
        {"hidden_sizes": [24, 48, 96, 192], "depths": [1] * 4},
    ),
    "convnextv2": (
        "ConvNextV2Config",
        "ConvNextV2ForImageClassification",
        {"hidden_sizes": [24, 48, 96, 192], "depths": [1] * 4},
    ),
    "cvt": ("CvtConfig", "CvtForImageClassification", {"depth": [1, 2, 3], "embed_dim": [32, 96, 192]}),
    "deit": ("DeiTConfig", "DeiTForImageClassification", _VISION),
    "detr": (
        "DetrConfig",
        "DetrForObjectDetection",
        _ENCODER_DECODER
        | {
            "use_timm_backbone": False,
            "backbone_config": {"model_type": "resnet", "out_features": ["stage4"]},
            "use_pretrained_backbone": False,
        },
    ),
    "dinov2": (
        "Dinov2Config",
        "Dinov2ForImageClassification",
        _VISION | {"mlp_ratio": 4, "patch_size": 16, "image_size": 224},
    ),
    "efficientnet": (
        "EfficientNetConfig",
        "EfficientNetForImageClassification",
        {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
    ),
    "levit": ("LevitConfig", "LevitForImageClassification", {}),
    "mobilenet_v2": ("MobileNetV2Config", "MobileNetV2ForImageClassification", {}),
    "mobilevit": ("MobileViTConfig", "MobileViTForImageClassification", {"image_size": 256}),
    "poolformer": ("PoolFormerConfig", "PoolFormerForImageClassification", {"depths": [1, 1, 2, 1]}),
    "pvt": ("PvtConfig", "PvtForImageClassification", {"depths": [1, 1, 1, 1]}),
    "regnet": (
        "RegNetConfig",
        "RegNetForImageClassification",
        {"hidden_sizes": [64, 128, 256, 512], "depths": [1, 1, 2, 1]},
    ),
    "resnet": ("ResNetConfig", "ResNetForImageClassification", {"depths": [1, 1, 2, 1]}),
    "segformer": ("SegformerConfig", "SegformerForSemanticSegmentation", {"depths": [1, 1, 1, 1]}),
    "swin": (
        "SwinConfig",
        "SwinForImageClassification",
        {"embed_dim": 32, "depths": [1, 1, 1], "num_heads": [1, 2, 4]},
    ),
    "swinv2": (
        "Swinv2Config",
        "Swinv2ForImageClassification",
        {"embed_dim": 32, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "image_size": 256, "window_size": 8},
    ),
    "vit": ("ViTConfig", "ViTForImageClassification", _VISION),
    "yolos": ("YolosConfig", "YolosForObjectDetection", _VISION | {"image_size": [224, 224]}),
}
_TEXTS: dict[str, Described] = {
    "albert": ("AlbertConfig", "AlbertForSequenceClassification", _TEXT | {"embedding_size": 32}),
    "bert": ("BertConfig", "BertForSequenceClassification", _TEXT),
    "deberta_v2": ("DebertaV2Config", "DebertaV2ForSequenceClassification", _TEXT),
    "distilbert": (
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        {"vocab_size": 1000, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
    "electra": ("ElectraConfig", "ElectraForSequenceClassification", _TEXT | {"embedding_size": 32}),
    "mpnet": ("MPNetConfig", "MPNetForSequenceClassification", _TEXT),
    "roberta": ("RobertaConfig", "RobertaForSequenceClassification", _TEXT),
    "t5enc": ("T5Config", "T5EncoderModel", _T5),
}
_LANGUAGE: dict[str, Described] = {
    "bloom": ("BloomConfig", "BloomForCausalLM", {"vocab_size": 1000, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", "FalconForCausalLM", _TEXT),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", _DECODER),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", _DECODER),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": 1000, "n_embd": 64, "n_layer": 2, "n_head": 4}),
    "gpt_neo": (
        "GPTNeoConfig",
        "GPTNeoForCausalLM",
        {
            "vocab_size": 1000,
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", _TEXT),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _DECODER | {"num_key_value_heads": 4}),
    "llama_gqa": ("LlamaConfig", "LlamaForCausalLM", _DECODER),
    "mistral": ("MistralConfig", "MistralForCausalLM", _DECODER),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", _DECODER | {"num_local_experts": 4}),
    "opt": (
        "OPTConfig",
        "OPTForCausalLM",
        {
            "vocab_size": 1000,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 128,
            "word_embed_proj_dim": 64,
        },
    ),
    "phi": ("PhiConfig", "PhiForCausalLM", _TEXT),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", _DECODER),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _DECODER),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _DECODER),
}
_OTHERS: dict[str, tuple[str, str, dict[str, Any], Callable[[], Any]]] = {
    "bart": ("BartConfig", "BartForConditionalGeneration", _SEQ2SEQ, _translated),
    "clip": (
        "CLIPConfig",
        "CLIPModel",
        {"text_config": _TEXT, "vision_config": _TEXT | {"image_size": 224, "patch_size": 16}, "projection_dim": 32},
        _both,
    ),
    "hubert": ("HubertConfig", "HubertForCTC", _AUDIO, _waveform),
    "mamba": (
        "MambaConfig",
        "MambaForCausalLM",
        {"vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
        _state_space,
    ),
    "t5": ("T5Config", "T5ForConditionalGeneration", _T5, _translated),
    "vit_mae": (
        "ViTMAEConfig",
        "ViTMAEForPreTraining",
        _VISION
        | {
            "decoder_hidden_size": 64,
            "decoder_num_hidden_layers": 2,
            "decoder_num_attention_heads": 4,
            "decoder_intermediate_size": 128,
        },
        _unmasked,
    ),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2ForCTC", _AUDIO, _waveform),
    "whisper_encoder": (
        "WhisperConfig",
        "WhisperForAudioClassification",
        _SEQ2SEQ | {"max_source_positions": 100, "num_mel_bins": 80},
        _spectrogram,
    ),
}


def _transformers_list() -> dict[str, Callable[[], Built]]:
    sizes = {"mobilevit": 256, "swinv2": 256}
    described = dict(_OTHERS)
    for name, (config, model, options) in _IMAGES.items():
        described[name] = (config, model, options, partial(_pixels, sizes.get(name, 224)))
    described |= {name: (*parts, _tokens) for name, parts in _TEXTS.items()}
    described |= {name: (*parts, _decoded) for name, parts in _LANGUAGE.items()}
    return {name: partial(_transformers, *described[name]) for name in sorted(described)}


LISTS: dict[str, dict[str, Callable[[], Built]]] = {
    "torchvision": _torchvision_list(),
    "timm": {name: partial(_timm, name) for name in _TIMM},
    "transformers": _transformers_list(),
}
"""Builders by list and name."""
