"""What is known of a method without running it, as a page; ``python -m mubench.report.method_page
docs/methods`` writes the pages of all that ship with mubench."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mubench.config.resolve import presets
from mubench.config.search import space
from mubench.registry import METHODS

WORDS = {
    "log": "{0[0]:g} to {0[1]:g}, log-uniform",
    "around": "own / {0:g} to own * {0:g}, log-uniform",
    "among": "one of {0}",
}


def method_page(name: str) -> str:
    """Markdown: paper, formula, kind, needs, and every setting with its default."""
    made = METHODS.get(name).load()
    info = made.info
    lines = [f"# {info.name}: {info.title}", "", inspect.getdoc(made) or "", ""]
    lines += [f"- paper: {info.paper or 'none'}", f"- formula: `{info.formula}`"]
    lines += [f"- kind: {info.kind}; needs {', '.join(info.needs) or 'nothing'}"]
    lines += [f"- models: {', '.join(info.models)}"]
    lines += [f"- note: {info.notes}"] if info.notes else []
    if info.weight_access == "n/a":
        lines += ["- weights: untouched, so robustness to whoever has them is n/a"]
    lines += ["", *_settings(name, made.Config)]
    return "\n".join(lines).rstrip() + "\n"


def _settings(name: str, config: Any) -> Iterator[str]:
    defaults = config().model_dump()
    if not defaults:
        yield "It has no settings."
        return
    own = {model: of.get("methods", {}).get(name, {}) for model, of in presets("models").items()}
    tuned = space(config)
    yield "| `--set method.KEY=VALUE` | default | a model's own | tuned within |"
    yield "| --- | --- | --- | --- |"
    for key, default in defaults.items():
        models = ", ".join(f"{model}: {of[key]}" for model, of in own.items() if key in of)
        how = WORDS[tuned[key][0]].format(tuned[key][1]) if key in tuned else ""
        parts = default.items() if isinstance(default, dict) else ()
        names = {f"{key}.{part}": value for part, value in parts} or {key: default}
        for word, value in names.items():
            yield f"| `{word}` | {value} | {models} | {how} |"


def write_pages(folder: Path) -> None:
    """One page a method, and nothing else of that kind left in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name: page, for all methods that ship, and a list of them."""
    found = {f"{name}.md": method_page(name) for name in METHODS.builtin}
    listed = [f"- [`{name}`]({name}.md): {METHODS.builtin[name][1]}" for name in METHODS.builtin]
    found["README.md"] = "\n".join(["# Methods", "", *listed]) + "\n"
    return found


if __name__ == "__main__":
    import typer

    typer.run(write_pages)
