"""Build `llava-tiny` and `clip-tiny` from nothing: real models of a few million parameters.

What is saved is plain Hugging Face and open_clip format: ``AutoModelForImageTextToText``,
``AutoProcessor`` and ``open_clip.create_model("local-dir:...")`` load it without code of mubench.
The vision towers of both are of one shape and activation, so that one can take the other's place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

#: The layout of LLaVA-1.5's prompt, without spare tokens.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ 'USER:' if message['role'] == 'user' else 'ASSISTANT:' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ ' ' + part['text'] }}"
    "{% endfor %}{{ ' ' if message['role'] == 'user' else '</s>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<image>")

SHAPE: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 12,
    "vision_width": 128,
    "vision_layers": 3,
    "text_width": 160,
    "text_layers": 4,
    "heads": 4,
    "vocabulary": 1280,
}


#: clip-tiny in open_clip's own words; the vision tower is that of ``SHAPE``.
CLIP_CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 256,
        "quick_gelu": True,  # as in the CLIP towers of transformers
        "vision_cfg": {
            "image_size": SHAPE["image_size"],
            "patch_size": SHAPE["patch_size"],
            "width": SHAPE["vision_width"],
            "layers": SHAPE["vision_layers"],
            "head_width": SHAPE["vision_width"] // SHAPE["heads"],
            "mlp_ratio": 2.0,
            # LLaVA's towers leave the class token untrained: one query reads the patches.
            "attentional_pool": True,
            "attn_pooler_queries": 1,
            "attn_pooler_heads": 16,
        },
        "text_cfg": {
            "context_length": 24,
            "vocab_size": 2048,
            "hf_tokenizer_name": "clip-tiny",  # open_clip reads it from the model's own folder
            "width": 128,
            "heads": 4,
            "layers": 2,
            "mlp_ratio": 2.0,
            "pool_type": "eos",
            "eos_id": SPECIAL.index("</s>"),
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}


def build_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer learned from ``texts``: any string can be encoded and decoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def build_clip_tokenizer(texts: Iterable[str]) -> Any:
    """The tokenizer of ``clip-tiny``: lower case, with a start and an end token round each text."""
    from tokenizers import normalizers, pre_tokenizers, processors

    text = CLIP_CONFIG["model_cfg"]["text_cfg"]
    texts = (f" {text.lower()}" for text in texts)
    tokenizer = build_tokenizer(texts, text["vocab_size"])
    core = tokenizer.backend_tokenizer
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, SPECIAL.index(name)) for name in SPECIAL[1:3]]
    )
    tokenizer.model_max_length = text["context_length"]
    return tokenizer


def build_clip(seed: int) -> Any:
    """An ``open_clip.CLIP`` of clip-tiny's shape with random weights drawn from ``seed``."""
    import torch
    from open_clip import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLIP(**CLIP_CONFIG["model_cfg"])


def build_processor(tokenizer: Any, shape: dict[str, Any] = SHAPE) -> LlavaProcessor:
    """The processor of ``llava-tiny``: resize to a square, normalise, expand the image token."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    size = shape["image_size"]
    images = CLIPImageProcessor(
        size={"height": size, "width": size},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=shape["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, dropped by the "default" strategy
        chat_template=CHAT_TEMPLATE,
    )


def build_llava(
    tokenizer: Any, seed: int, shape: dict[str, Any] = SHAPE
) -> LlavaForConditionalGeneration:
    """A LLaVA with random weights drawn from ``seed``."""
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    vision = CLIPVisionConfig(
        hidden_size=shape["vision_width"],
        intermediate_size=2 * shape["vision_width"],
        num_hidden_layers=shape["vision_layers"],
        num_attention_heads=shape["heads"],
        image_size=shape["image_size"],
        patch_size=shape["patch_size"],
    )
    text = LlamaConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["text_width"],
        intermediate_size=3 * shape["text_width"],
        num_hidden_layers=shape["text_layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(shape["image_size"] // shape["patch_size"]) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlavaForConditionalGeneration(config)
