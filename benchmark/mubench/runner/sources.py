"""Where a benchmark's tables come from: built here, or published."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from mubench.benchmarks.portraits import PREFIX
from mubench.config.schema import (
    AnyBenchmark,
    BenchmarkSettings,
    ClipPeopleSettings,
    ConceptSettings,
    PopulationSettings,
    PublishedSettings,
)
from mubench.data.splits import check_count, forget_count, ratio_key
from mubench.data.tables import Tables
from mubench.errors import MissingError, UsageError, unknown
from mubench.hashing import code_sha, file_sha, sha

Report = Callable[[int, int, str], None]


#: Code that every kind of benchmark depends on.
RECORDS = ("mubench.types", "mubench.rng", "mubench.hashing")
#: Code of classes to forget, drawn or published, and of tables.
CLASSES = tuple(
    f"mubench.benchmarks.{name}" for name in ("classes", "concepts", "flags", "utility", "webdata")
)
TABLES = ("mubench.data.tables", *RECORDS)
#: Settings that name folders of the user's.
FOLDERS = ("faces", "celebrity_faces", "data_dir")


@dataclass(frozen=True, slots=True)
class Size:
    """Rough numbers for estimates: training examples, the forget people's share, questions."""

    train: int
    forget: float
    questions: int


class Source(Protocol):
    """One kind of benchmark, bound to its settings."""

    @property
    def not_asked(self) -> tuple[tuple[str, str], ...]:
        """What it has no questions for, and why."""
        ...

    def check(self) -> None:
        """UsageError for settings that no benchmark can be made from; reads no data."""
        ...

    def check_split(self) -> None:
        """UsageError for a forget ratio that the benchmark will not have."""
        ...

    def identity(self) -> dict[str, Any]:
        """What the content depends on; the forget ratio and fold are no part of it."""
        ...

    def size(self) -> Size | None:
        """How much a run has to train and to ask, where that is known beforehand."""
        ...

    def tables(self, report: Report) -> Tables:
        """Make or read the benchmark."""
        ...


class People:
    """A people benchmark, built on this machine."""

    not_asked: tuple[tuple[str, str], ...] = (
        ("general: generation and cloze", "its questions are choice questions"),
    )

    def __init__(self, settings: PopulationSettings) -> None:
        self.settings = settings

    def _options(self) -> Any:
        try:
            from mubench_data.build import PeopleOptions
        except ImportError as error:
            raise MissingError(
                f"the builders are not installed ({error}): pip install mubench"
            ) from error
        options = self.settings.model_dump(exclude={*BenchmarkSettings.model_fields, "kind"})
        options["facts"] = options["facts"] or PeopleOptions().facts
        return PeopleOptions(**options)

    def _build(self) -> Any:
        from mubench_data.build import build_people

        return build_people

    def check(self) -> None:
        from mubench_data.facts import PERSON_FACTS
        from mubench_data.questions import PER_PERSON

        settings = self.settings
        for kind in settings.facts:
            if kind not in PERSON_FACTS:
                raise unknown("fact in benchmark.facts", kind, PERSON_FACTS)
        wanted = max(PER_PERSON.values())
        if settings.facts and len(set(settings.facts)) < wanted:
            raise UsageError(
                f"benchmark.facts: {wanted} different facts at least, else a question comes twice"
            )
        for key in ("faces", "celebrity_faces"):
            folder = getattr(settings, key)
            if folder and not str(folder).startswith(PREFIX) and not Path(folder).is_dir():
                raise UsageError(f"benchmark.{key}={folder}: no such folder")

    def check_split(self) -> None:
        from mubench_data.build import most_forgotten

        people, ratio, fold = (
            self.settings.fictitious,
            self.settings.forget_ratio,
            self.settings.fold,
        )
        check_count(forget_count(ratio, people), people, most_forgotten(people), ratio, fold)

    def identity(self) -> dict[str, Any]:
        options = self.settings.model_dump(exclude={*BenchmarkSettings.model_fields, *FOLDERS})
        faces, famous = self.settings.faces, self.settings.celebrity_faces
        on_hub = famous is not None and famous.startswith(PREFIX)
        return {
            **options,
            "faces": faces and folder_sha(faces),
            "celebrity_faces": famous if on_hub else famous and folder_sha(Path(famous)),
            "code": code_sha("mubench_data", "mubench.data.tables", *RECORDS),
        }

    def size(self) -> Size:
        settings, kinds = self.settings, len(self._options().facts)
        # 7 trained wordings a fact and modality, and four names a person.
        train = settings.fictitious * (14 * kinds + 4) + settings.celebrities * (14 * 5 + 4)
        asked = settings.fictitious * (1 + settings.forget_ratio) + settings.celebrities
        return Size(train, settings.forget_ratio, round(18 * asked))

    def tables(self, report: Report) -> Tables:
        from mubench.benchmarks.portraits import portraits
        from mubench_data.people import celebrities

        options, famous = self._options(), self.settings.celebrity_faces
        if famous is not None:
            names = (person.name for person in celebrities())
            folder = portraits(famous, names) if famous.startswith(PREFIX) else Path(famous)
            options = replace(options, celebrity_faces=folder)
        tables: Tables = self._build()(options, report, os.cpu_count() or 1)
        tables.name = self.settings.name
        return tables


class ClipPeople(People):
    """The same people, as pairs of picture and caption."""

    not_asked = (
        ("forget and test: general pictures", "nobody is shown in them"),
        ("image tower: sets but forget and retain", "prototypes are asked of these alone"),
        ("text tower: sets but retain", "names alone say nothing about anybody"),
    )

    def _build(self) -> Any:
        from mubench_data.clip_people import build_clip_people

        return build_clip_people

    def size(self) -> Size:
        settings, kinds = self.settings, len(self._options().facts)
        # Four photos: of five wordings of the name, and one of every fact.
        train = settings.fictitious * 4 * (5 + kinds) + settings.celebrities * 20
        asked = settings.fictitious * (1 + settings.forget_ratio) * 25 + settings.celebrities * 9
        return Size(train, settings.forget_ratio, round(asked))


class Concepts:
    """Classes to forget."""

    def __init__(self, settings: ConceptSettings) -> None:
        self.settings = settings

    @property
    def not_asked(self) -> tuple[tuple[str, str], ...]:
        alike = self.settings.dataset is None or self.settings.families
        missing = (("near-miss classes and open set", "benchmark.families names no look-alikes"),)
        return (
            ("text tower: sets but retain", "words alone say nothing about a class"),
            ("image tower: sets but forget and retain", "prototypes are asked of these alone"),
            *(() if alike else missing),
        )

    def check(self) -> None:
        from mubench.benchmarks.concepts import FEWEST_PICTURES

        if self.settings.test_pictures < FEWEST_PICTURES:
            raise UsageError(
                f"benchmark.test_pictures={self.settings.test_pictures}: what is forgotten cannot "
                f"be told from fewer than {FEWEST_PICTURES} pictures of a class"
            )
        folder = self.settings.data_dir
        if folder is not None and not folder.is_dir():
            raise UsageError(f"benchmark.data_dir={folder}: no such folder")

    def check_split(self) -> None:
        from mubench.benchmarks.concepts import FEWEST_CLASSES

        classes, ratio = self.settings.classes, self.settings.forget_ratio
        count = forget_count(ratio, classes)
        if not FEWEST_CLASSES <= count <= classes // 2:
            raise UsageError(
                f"benchmark.forget_ratio={ratio:g} of {classes} classes is {count}: no interval "
                f"can be had from fewer than {FEWEST_CLASSES}, and half must stay; take "
                f"{FEWEST_CLASSES / classes:.2f} to 0.50"
            )

    def identity(self) -> dict[str, Any]:
        settings = self.settings
        return {
            **settings.model_dump(exclude={*BenchmarkSettings.model_fields, *FOLDERS}),
            "copy": settings.data_dir and folder_sha(settings.data_dir),
            "code": code_sha(*CLASSES, "mubench.data.hub", *TABLES, "mubench_data"),
        }

    def size(self) -> Size:
        from mubench.benchmarks.concepts import CAPTIONS

        settings = self.settings
        train = settings.classes * settings.train_pictures * CAPTIONS
        asked = settings.classes * settings.test_pictures * 2
        return Size(train, settings.forget_ratio, asked)

    def tables(self, report: Report) -> Tables:
        from mubench.benchmarks import concepts, flags, utility, webdata

        one = self.settings
        pictures = one.train_pictures, one.test_pictures
        if one.dataset is None:
            chosen = flags.class_set(*pictures, one.image_size, one.seed)
        else:
            found = webdata.load(
                one.dataset,
                ("train", "test"),
                revision=one.revision or "",
                data_dir=one.data_dir,
                progress=report,
            )
            chosen = webdata.class_set(found, one.families, *pictures)
        if len(chosen.train) != one.classes:
            raise UsageError(
                f"{chosen.name} has {len(chosen.train)} classes: set benchmark.classes to it"
            )
        tables = concepts.build(chosen, one.seed)
        tables.name = one.name
        general = utility.scenes(one.scenes, one.words, one.image_size, one.seed)
        return utility.add(tables, [general])


class Published:
    """A published data set, read as it is."""

    not_asked = ()

    def __init__(self, settings: PublishedSettings) -> None:
        self.settings = settings

    def check(self) -> None:
        from mubench.benchmarks.published import find

        find(self.settings.dataset)
        folder = self.settings.data_dir
        if folder is not None and not folder.is_dir():
            raise UsageError(f"benchmark.data_dir={folder}: no such folder")

    def check_split(self) -> None:
        from mubench.benchmarks.published import find

        settings, ratios = self.settings, find(self.settings.dataset).ratios
        if ratio_key(settings.forget_ratio) not in ratios:
            raise UsageError(
                f"benchmark.forget_ratio={settings.forget_ratio:g} is not published: "
                f"{settings.dataset} has {', '.join(ratios)}"
            )

    def identity(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "dataset": settings.dataset,
            "revision": settings.revision,
            "copy": settings.data_dir and folder_sha(settings.data_dir),
            "code": code_sha("mubench.benchmarks", "mubench.data", *RECORDS),
        }

    def size(self) -> None:
        return None

    def tables(self, report: Report) -> Tables:
        from mubench.benchmarks.published import load

        settings = self.settings
        tables = load(
            settings.dataset,
            data_dir=settings.data_dir,
            revision=settings.revision or "",
            progress=report,
        )
        if not tables.refusals:  # few publish any
            from mubench_data.facts import REFUSALS

            tables.refusals = REFUSALS
        return tables


class WithUtility:
    """A benchmark, asked of published sets as well."""

    def __init__(self, inner: Source, sets: Sequence[str]) -> None:
        self.inner, self.sets = inner, sets
        self.check_split, self.size = inner.check_split, inner.size

    @property
    def not_asked(self) -> tuple[tuple[str, str], ...]:
        return self.inner.not_asked

    def check(self) -> None:
        from mubench.benchmarks.webdata import address

        self.inner.check()
        for one in self.sets:
            address(one)

    def identity(self) -> dict[str, Any]:
        from mubench.benchmarks.webdata import address

        places = {one: address(one) for one in self.sets}
        return {
            **self.inner.identity(),
            "utility": [folder_sha(at[2]) if at[2] else at[:2] for at in places.values()],
            "utility code": code_sha(*CLASSES, "mubench.data.hub"),
        }

    def tables(self, report: Report) -> Tables:
        from mubench.benchmarks import utility, webdata

        more = []
        for one in self.sets:
            repo, revision, folder = webdata.address(one)
            found = webdata.load(
                repo, ("test",), revision=revision, data_dir=folder, progress=report
            )
            more.append(webdata.utility(found))
        return utility.add(self.inner.tables(report), more)


def source(settings: AnyBenchmark) -> Source:
    """The source that the settings ask for."""
    made = _source(settings)
    return WithUtility(made, settings.utility) if settings.utility else made


def _source(settings: AnyBenchmark) -> Source:
    if isinstance(settings, PublishedSettings):
        return Published(settings)
    if isinstance(settings, ConceptSettings):
        return Concepts(settings)
    return ClipPeople(settings) if isinstance(settings, ClipPeopleSettings) else People(settings)


def folder_sha(folder: Path) -> str:
    """sha256 over the names and bytes of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return sha([(path.relative_to(folder).as_posix(), file_sha(path)) for path in files])
