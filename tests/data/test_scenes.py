"""Scenes and words: readable, unambiguous and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mubench_data import scenes
from mubench_data.scenes import Scene

RED_CIRCLE = Scene("circle", "red", 1, "centre", (255, 255, 255), 0)


def shape_mask(scene: Scene, size: int = 48) -> np.ndarray:
    """(size, size) pixels that are nearer to the shape colour than to the background."""
    image = np.asarray(scenes.draw_scene(scene, size), dtype=np.float64)
    colours = (scenes.COLOR_VALUES[scene.color], scene.background)
    shape, ground = (np.linalg.norm(image - np.array(c), axis=-1) for c in colours)
    return shape < ground


def blobs(mask: np.ndarray) -> int:
    """Number of regions; diagonal neighbours belong together, as thin tips may meet so."""
    left, count = {tuple(p) for p in np.argwhere(mask).tolist()}, 0
    while left:
        stack, count = [left.pop()], count + 1
        while stack:
            y, x = stack.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack.extend(near)
    return count


@pytest.mark.parametrize("size", [48, 224])
def test_equal_arguments_give_equal_pixels(size: int) -> None:
    scene = scenes.sample_scene(np.random.default_rng(4))
    assert scene == scenes.sample_scene(np.random.default_rng(4))
    image = scenes.draw_scene(scene, size)
    assert image.size == (size, size)
    assert image.tobytes() == scenes.draw_scene(scene, size).tobytes()
    words = [scenes.draw_word("tree", np.random.default_rng(4), size) for _ in range(2)]
    assert words[0].size == (size, size)
    assert words[0].tobytes() == words[1].tobytes()


def test_samples_cover_every_value_and_contrast() -> None:
    rng = np.random.default_rng(0)
    samples = [scenes.sample_scene(rng) for _ in range(300)]
    for kind in ("color", "count", "shape", "position"):
        given = {a for s in samples for k, _, a in scenes.scene_questions(s) if k == kind}
        assert given == set(scenes.ANSWERS[kind])
    assert all(scenes.contrasts(scenes.COLOR_VALUES[s.color], s.background) for s in samples)


@pytest.mark.parametrize("shape", scenes.SHAPES)
@pytest.mark.parametrize("position", scenes.POSITIONS)
def test_the_shapes_can_be_counted_and_located_at_48_pixels(shape: str, position: str) -> None:
    for count in scenes.COUNTS:
        for seed in range(3):
            scene = Scene(shape, "blue", count, position, (250, 230, 120), seed)
            mask = shape_mask(scene)
            assert blobs(mask) == count
            y, x = (np.argwhere(mask).mean(axis=0) + 0.5) / 48 - 0.5
            found = {
                "left": x < -0.2, "right": x > 0.2, "top": y < -0.2, "bottom": y > 0.2,
                "centre": max(abs(x), abs(y)) < 0.1,
            }  # fmt: skip
            assert [name for name, holds in found.items() if holds] == [position]
            # Nothing is cut off by the edge of the picture.
            assert not (mask[[0, -1]].any() or mask[:, [0, -1]].any())


def test_shapes_and_colours_differ_in_pixels() -> None:
    masks = [shape_mask(replace(RED_CIRCLE, shape=shape)) for shape in scenes.SHAPES]
    for index, mask in enumerate(masks):
        assert all((mask != other).sum() > 10 for other in masks[:index])


def test_answers_are_single_lower_case_words() -> None:
    for kind, _, answer in scenes.scene_questions(RED_CIRCLE):
        assert answer in scenes.ANSWERS[kind]
    for answers in scenes.ANSWERS.values():
        assert len(set(answers)) == len(answers)
        assert all(answer.isalpha() and answer.islower() for answer in answers)
    assert len(scenes.WORDS) == 32
    assert {len(word) for word in scenes.WORDS} == {3, 4}


def test_words_differ_and_stay_inside_the_picture() -> None:
    images = {}
    for word in scenes.WORDS:
        image = np.asarray(scenes.draw_word(word, np.random.default_rng(1), 48), dtype=np.float64)
        difference = np.abs(image - image[0, 0]).sum(axis=-1) > 60
        edges = np.concatenate([difference[0], difference[-1], difference[:, 0], difference[:, -1]])
        assert not edges.any(), word
        columns = np.flatnonzero(difference.any(axis=0))
        assert columns[-1] - columns[0] > 48 * 0.55, word
        images[word] = image
    assert len({image.tobytes() for image in images.values()}) == len(scenes.WORDS)


def test_bad_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown"):
        replace(RED_CIRCLE, count=5)
    with pytest.raises(ValueError, match="unknown"):
        replace(RED_CIRCLE, color="pink")
