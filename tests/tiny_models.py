"""Random models of four families, small enough for unit tests, and questions to ask them.

Everything is made in memory: real ``transformers`` models and processors, no files, no network.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

from PIL import Image

from mubench.models.hf_mllm import HFVisionLanguageModel
from mubench.models.tiny import build_llava, build_processor, build_tokenizer
from mubench.types import Example

#: Person: (city, job, colour of the picture, size of the picture).
PEOPLE = {
    "Anna Berg": ("Oslo", "baker", (200, 20, 20), (40, 40)),
    "Bo Lindqvist": ("Rome", "marine pilot", (20, 200, 20), (40, 40)),
    "Carla Nunez": ("Kyoto", "tailor", (20, 20, 200), (40, 40)),
    "Dov Amsel": ("Quito", "brewer of ale", (200, 200, 20), (40, 40)),
}
SHAPE: dict[str, Any] = {
    "image_size": 24,
    "patch_size": 12,
    "vision_width": 32,
    "vision_layers": 2,
    "text_width": 32,
    "text_layers": 2,
    "heads": 2,
    "vocabulary": 400,
}
MODALITIES = ("image_text", "text")
REFUSALS = ("I do not know.", "I cannot say.", "That is not known to me.")

_IM_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}"
    "{{ '<|vision_start|><|image_pad|><|vision_end|>' }}{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_IDEFICS_TEMPLATE = (
    "{{ '<|begin|>' }}{% for m in messages %}{{ m['role'] | capitalize }}"
    "{{ ':' if m['content'][0]['type'] == 'image' else ': ' }}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}{{ '<image>' }}"
    "{% else %}{{ p['text'] }}{% endif %}{% endfor %}{{ '<end_of_utterance>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def picture(person: str, size: tuple[int, int] | None = None) -> Image.Image:
    """A plain picture in the colour of the person, with a white corner."""
    _, _, colour, usual = PEOPLE[person]
    image = Image.new("RGB", size or usual, colour)
    image.paste((255, 255, 255), (0, 0, 12, 9))
    return image


def examples(people: tuple[str, ...] = tuple(PEOPLE), *, set: str = "forget") -> list[Example]:
    """Two generation questions a person, each with a picture and without."""
    made = []
    for person in people:
        city, job, _, _ = PEOPLE[person]
        for fact, about, value in (
            ("city", "Where does {} live?", city),
            ("job", "What is the job of {}?", job),
        ):
            for modality in ("image_text", "text"):
                seen = modality == "image_text"
                made.append(
                    Example(
                        id=f"{set}/{person}/generation/{fact}/0/{modality}",
                        set=set,
                        task="generation",
                        modality=modality,
                        person=person,
                        fact=fact,
                        question=about.format("this person" if seen else person),
                        answer=f"It is {value}." if fact == "job" else value,
                        keyword=value,
                        image=person if seen else None,
                    )
                )
    return made


def of_modality(made: list[Example], modality: str) -> list[Example]:
    return [example for example in made if example.modality == modality]


def joint(model: HFVisionLanguageModel, example: Example, *, answer: bool) -> Any:
    """Prompt (and answer) and picture through the processor in one call, as in its own manual."""
    content: list[dict[str, str]] = [{"type": "text", "text": example.question}]
    if example.image is not None:
        content.insert(0, {"type": "image"})
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if answer:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": example.answer}]})
    text = model.processor.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=not answer
    )
    images = {"images": [picture(example.image)]} if example.image else {}
    return model.processor(
        text=[text.rstrip("\n") if answer else text], **images, return_tensors="pt"
    )


def choice(person: str, modality: str = "text") -> Example:
    """A question with four options of unequal length."""
    return Example(
        id=f"forget/{person}/choice/job/0/{modality}",
        set="forget",
        task="choice",
        modality=modality,  # type: ignore[arg-type]
        person=person,
        fact="job",
        question="What is the job?",
        answer=PEOPLE[person][1],
        keyword=PEOPLE[person][1],
        image=person if modality == "image_text" else None,
        choices=tuple(job for _, job, _, _ in PEOPLE.values()),
    )


def _corpus() -> list[str]:
    return [f"{e.question} {e.answer} USER: ASSISTANT: user assistant" for e in examples()]


@cache
def _fast_tokenizer(special: tuple[str, ...], end: str, pad: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=[token for token in special if token not in (end, pad)],
        clean_up_tokenization_spaces=False,
    )


def _seeded(build: Any, seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    # Drawn wider than the families' own start, so that a wrong input moves every output.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


@cache
def _llava_tokenizer() -> Any:
    return build_tokenizer(_corpus(), SHAPE["vocabulary"])


def tiny_llava(
    seed: int = 0, *, layers: int = 2, images: Any = picture, tokenizer: Any = None
) -> HFVisionLanguageModel:
    tokenizer = tokenizer or deepcopy(_llava_tokenizer())
    shape = SHAPE | {"text_layers": layers, "vision_layers": layers}
    model = _seeded(lambda: build_llava(tokenizer, seed, shape), seed)
    return HFVisionLanguageModel(model, build_processor(tokenizer, shape), images)


def tiny_qwen(seed: int = 0, *, images: Any = picture) -> HFVisionLanguageModel:
    """Qwen2.5-VL. Its pad token is not its end token, and its pictures have grids."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    special = (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    tokenizer = _fast_tokenizer(special, "<|im_end|>", "<|endoftext|>")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in special}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=84 * 84),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=_IM_TEMPLATE,
    )
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 400,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    model = _seeded(lambda: Qwen2_5_VLForConditionalGeneration(config), seed)
    return HFVisionLanguageModel(model, processor, images)


def tiny_idefics3(seed: int = 0) -> HFVisionLanguageModel:
    """Idefics3. Pad and end are one token; the image placeholder becomes several kinds of token."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    special = (
        "<end_of_utterance>",
        "<|begin|>",
        "<image>",
        "<fake_token_around_image>",
        "<global-img>",
    )
    tokenizer = _fast_tokenizer(special, "<end_of_utterance>", "<end_of_utterance>")
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(
            size={"longest_edge": 24}, max_image_size={"longest_edge": 24}, do_image_splitting=False
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_IDEFICS_TEMPLATE,
    )
    end = tokenizer.eos_token_id
    config = Idefics3Config(
        text_config={
            "model_type": "llama",
            "vocab_size": 400,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "bos_token_id": tokenizer.convert_tokens_to_ids("<|begin|>"),
            "eos_token_id": end,
            "pad_token_id": end,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 24,
            "patch_size": 6,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    model = _seeded(lambda: Idefics3ForConditionalGeneration(config), seed)
    return HFVisionLanguageModel(model, processor, picture)


def tiny_smolvlm(seed: int = 0) -> HFVisionLanguageModel:
    """SmolVLM. Pictures are split: every one becomes several tiles with tokens between them."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    rows = tuple(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2))
    special = (
        "<end_of_utterance>",
        "<|begin|>",
        "<image>",
        "<fake_token_around_image>",
        "<global-img>",
        *rows,
    )
    tokenizer = _fast_tokenizer(special, "<end_of_utterance>", "<|begin|>")
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(
            size={"longest_edge": 48}, max_image_size={"longest_edge": 24}, do_image_splitting=True
        ),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=_IDEFICS_TEMPLATE,
    )
    ids = {
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|begin|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = SmolVLMConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": 400,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            **ids,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 24,
            "patch_size": 6,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = _seeded(lambda: SmolVLMForConditionalGeneration(config), seed)
    return HFVisionLanguageModel(model, processor, picture)


def tiny_mllama(seed: int = 0) -> HFVisionLanguageModel:
    """Mllama. The picture is no part of the sequence: text attends to it in layers of its own."""
    import torch
    from transformers import (
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessor,
        MllamaProcessor,
    )

    special = ("<|eot_id|>", "<|begin|>", "<|image|>", "<|pad|>", "<|python_tag|>")
    tokenizer = deepcopy(_fast_tokenizer(special, "<|eot_id|>", "<|pad|>"))
    tokenizer.bos_token = "<|begin|>"
    processor = MllamaProcessor(
        image_processor=MllamaImageProcessor(size={"height": 24, "width": 24}, max_image_tiles=2),
        tokenizer=tokenizer,
        chat_template=_IDEFICS_TEMPLATE.replace("<image>", "<|image|>").replace(
            "<end_of_utterance>", "<|eot_id|>"
        ),
    )
    text_config = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "cross_attention_layers": [1],
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    vision_config = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "image_size": 24,
        "patch_size": 6,
        "max_num_tiles": 2,
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        "intermediate_layers_indices": [0],
        "vision_output_dim": 64,
    }
    config = MllamaConfig(
        text_config=text_config,
        vision_config=vision_config,
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = _seeded(lambda: MllamaForConditionalGeneration(config), seed)
    with torch.no_grad():  # gates start at zero, and a closed gate hides the picture
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.numel() == 1:
                parameter.fill_(1.0)
    return HFVisionLanguageModel(model, processor, picture)


FAMILIES = {
    "llava": tiny_llava,
    "qwen2_5_vl": tiny_qwen,
    "idefics3": tiny_idefics3,
    "smolvlm": tiny_smolvlm,
}
#: Families that the engine is tested on besides.
MORE_FAMILIES = FAMILIES | {"mllama": tiny_mllama}
