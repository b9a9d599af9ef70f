"""Names to things, without importing them: ``list`` answers before torch could be loaded.

Built-ins stand in static tables (they work without install metadata); others come from entry
points or from a file. Nothing is imported until it is asked for.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mubench.errors import UsageError, unknown


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a name comes from: ``target`` is ``module:attribute``, or a path for file plug-ins."""

    name: str
    target: str
    origin: str
    summary: str = ""

    def load(self) -> Any:
        """Import it. UsageError if the module or the attribute is not there."""
        module, _, attribute = self.target.rpartition(":")
        try:
            if module.endswith(".py"):
                return getattr(_import_file(Path(module)), attribute)
            return getattr(import_module(module), attribute)
        except Exception as error:  # a plug-in's module may raise anything when it is imported
            raise UsageError(f"cannot load {self.name} from {self.target}: {error}") from error


def _import_file(path: Path) -> Any:
    name = f"mubench_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no Python file at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True)
class Registry:
    """One kind of thing, e.g. methods. ``group`` is its entry-point group."""

    kind: str
    group: str
    builtin: dict[str, tuple[str, str]] = field(default_factory=dict)  # name: target, summary

    def entries(self) -> dict[str, Entry]:
        """All names. A plug-in that takes a name in use is refused, naming both origins."""
        found = {
            name: Entry(name, target, "mubench", summary)
            for name, (target, summary) in self.builtin.items()
        }
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else "entry point"
            if point.name in found:
                raise UsageError(
                    f"{self.kind} '{point.name}' is claimed by both {found[point.name].origin} "
                    f"and {origin}: uninstall or rename one"
                )
            found[point.name] = Entry(point.name, point.value, origin)
        return found

    def get(self, name: str) -> Entry:
        """The entry of a name, or of ``path/to/file.py:Class``."""
        path, colon, attribute = name.rpartition(":")
        if colon and path.endswith(".py"):
            if not Path(path).is_file():
                raise UsageError(f"{self.kind} '{name}': no file at {path}")
            return Entry(attribute, f"{Path(path).resolve()}:{attribute}", "file")
        entries = self.entries()
        if name not in entries:
            raise unknown(self.kind, name, entries, f"(see: mubench list {self.kind}s)")
        return entries[name]


METHODS = Registry(
    "method",
    "mubench.methods",
    {
        "none": ("mubench.methods.references:NoUnlearning", "the target itself: did nothing"),
        "gold": ("mubench.methods.references:Gold", "retrained without the forget people"),
        "ga": ("mubench.methods.ga:GradientAscent", "gradient ascent on the forget set"),
        "grad-diff": (
            "mubench.methods.grad_diff:GradientDifference",
            "ascent on forget, descent on retain",
        ),
        "kl-min": ("mubench.methods.kl_min:KLMinimisation", "ascent, held to the target by KL"),
        "npo": ("mubench.methods.npo:NPO", "negative preference optimisation"),
        "idk": ("mubench.methods.idk:IDK", "fine-tune forget questions to a refusal"),
        "simnpo": ("mubench.methods.simnpo:SimNPO", "NPO without reference, by length"),
        "idk-dpo": ("mubench.methods.idk_dpo:IdkDPO", "prefer a refusal to the true answer"),
        "altpo": ("mubench.methods.altpo:AltPO", "prefer wrong answers of the same kind"),
        "undial": ("mubench.methods.undial:UNDIAL", "self-distillation on adjusted logits"),
        "wga": ("mubench.methods.wga:WGA", "ascent weighted by what is still known"),
        "satimp": ("mubench.methods.satimp:SatImp", "ascent by saturation and importance"),
        "ce-u": ("mubench.methods.ce_u:CEU", "towards itself without the true token"),
        "pdu": ("mubench.methods.pdu:PDU", "flat logits under a bound on the retain loss"),
        "scrub": ("mubench.methods.scrub:SCRUB", "from the target on forget, to it on retain"),
        "rmu": ("mubench.methods.rmu:RMU", "steer one layer's activations astray"),
        "wagle": ("mubench.methods.wagle:WAGLE", "NPO on weights by attribution"),
        "salun": ("mubench.methods.salun:SalUn", "wrong answers on salient weights"),
        "mmunlearner": (
            "mubench.methods.mmunlearner:MMUnlearner",
            "forget faces, on weights that only they need",
        ),
        "manu": ("mubench.methods.manu:MANU", "modality-aware neuron pruning (paper)"),
        "manu-official": (
            "mubench.methods.manu_official:MANUOfficial",
            "neuron pruning as in MANU's released code",
        ),
        "sku": ("mubench.methods.sku:SKU", "learn what is to go, then subtract it (two stages)"),
        "task-arithmetic": (
            "mubench.methods.task_arithmetic:TaskArithmetic",
            "fine-tune on forget, subtract the task vector",
        ),
        "mip-editor": (
            "mubench.methods.mip_editor:MIPEditor",
            "clear and re-train paths of influential units",
        ),
        "cliperase": (
            "mubench.methods.dual.cliperase:CLIPErase",
            "dual encoders: forget pairs apart, the rest held",
        ),
        "cliperase-floor": (
            "mubench.methods.dual.cliperase_floor:CLIPEraseFloor",
            "dual encoders: CLIPErase that stops where pairs do not match",
        ),
        "ft": ("mubench.methods.dual.ft:FineTuning", "dual encoders: train on retain alone"),
        "shuffled": (
            "mubench.methods.dual.shuffled:Shuffled",
            "dual encoders: forget images learn each other's names",
        ),
        "sim-min": (
            "mubench.methods.dual.sim_min:SimilarityMinimisation",
            "dual encoders: minimise the cosine of forget pairs",
        ),
        "multidelete": (
            "mubench.methods.dual.multidelete:MultiDelete",
            "dual encoders: forget pairs like pairs that never matched",
        ),
        "delete": (
            "mubench.methods.dual.delete:DELETE",
            "dual encoders: as if the true name did not exist",
        ),
        "slug": ("mubench.methods.dual.slug:SLUG", "dual encoders: one step on one tensor"),
        "negmerge": (
            "mubench.methods.dual.negmerge:NegMerge",
            "dual encoders: subtract what several task vectors agree on",
        ),
        "null-space": (
            "mubench.methods.dual.null_space:NullSpace",
            "dual encoders: project forget names out, closed form",
        ),
        "ridge-projection": (
            "mubench.methods.dual.ridge_projection:RidgeProjection",
            "dual encoders: project forget names out, hold the others, closed form",
        ),
        "ssd": ("mubench.methods.dual.ssd:SSD", "dual encoders: shrink weights that forget needs"),
        "munba": ("mubench.methods.dual.munba:MUNBa", "dual encoders: bargain over every step"),
        "lipschitz": (
            "mubench.methods.dual.lipschitz:Lipschitz",
            "dual encoders: flat features round made-up pictures",
        ),
        "uld": ("mubench.methods.uld:ULD", "subtract an assistant's logits at inference"),
        "guard": ("mubench.methods.guard:Guard", "a system prompt that asks for silence"),
        "icul": ("mubench.methods.icul:ICUL", "in-context demonstrations with wrong answers"),
        "output-filter": (
            "mubench.methods.output_filter:OutputFilter",
            "refuse answers that contain forgotten words",
        ),
    },
)
