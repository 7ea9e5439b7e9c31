"""Diagnosis of data sets: what people get wrong about labels and lists, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from deeplab_repro.data.sets.datasets import SegmentationDataset
from deeplab_repro.data.sets.label_facts import Facts, class_greys, examine

# Fewer pixels of thin lines than this may be chance.
MIN_SEPARATORS = 50


@dataclass(frozen=True)
class Fault:
    """kind: a short name; what: what is wrong; remedy: what to do; files: whose."""

    kind: str
    what: str
    remedy: str
    files: tuple[str, ...]

    @property
    def is_note(self) -> bool:
        """Whether it only matters to other programs."""
        return self.kind in ("palette", "no void", "EXIF")


@dataclass(frozen=True)
class Diagnosis:
    """All facts and the faults told from them, gravest first."""

    facts: tuple[Facts, ...]
    faults: tuple[Fault, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing worse than notes was found."""
        return all(fault.is_note for fault in self.faults)

    def has(self, kind: str) -> bool:
        """Whether a fault of that kind was found."""
        return any(fault.kind == kind for fault in self.faults)


def diagnose(
    datasets: Sequence[SegmentationDataset], workers: int = 2, progress: Callable[[int, int], None] = lambda *_: None
) -> Diagnosis:
    """Look at every file of one or several splits of a data set."""
    pairs = [(dataset, sample) for dataset in datasets for sample in dataset.samples]
    facts: list[Facts] = []
    with ThreadPoolExecutor(workers) as pool:
        for one in pool.map(lambda pair: examine(*pair), pairs):
            facts.append(one)
            progress(len(facts), len(pairs))
    return Diagnosis(tuple(facts), tuple(_faults(datasets[0], facts)))


def _faults(dataset: SegmentationDataset, facts: Sequence[Facts]) -> Iterable[Fault]:
    yield from _of_files(facts)
    yield from _of_turns(facts)
    yield from _of_sizes(facts)
    yield from _of_values(dataset, facts)
    yield from _of_splits(facts)
    palette = [one for one in facts if one.kind == "palette"]
    if palette:
        yield _fault(
            "palette",
            "palette PNGs: read here by index, but as grey by OpenCV and Caffe (class 1 becomes 38, void 220)",
            "nothing for this program; for others --fix writes grey PNGs that hold the labels themselves",
            palette,
        )


def _fault(kind: str, what: str, remedy: str, facts: Iterable[Facts], image: bool = False) -> Fault:
    files = tuple(str(one.sample.image if image or one.sample.label is None else one.sample.label) for one in facts)
    return Fault(kind, what, remedy, files)


def _of_files(facts: Sequence[Facts]) -> Iterable[Fault]:
    for which, image in (("image", True), ("label", False)):
        errors = defaultdict(list)
        for one in facts:
            error = one.image_error if image else one.label_error
            if error:
                errors["missing" if error == "No such file or directory" else "damaged"].append((one, error))
        if errors["missing"]:
            yield _fault(
                f"missing {which}",
                f"{which} files that a list names are not there",
                "correct the list or the folder; --fix leaves these entries out",
                (one for one, _ in errors["missing"]),
                image=image,
            )
        if errors["damaged"]:
            yield _fault(
                f"damaged {which}",
                f"{which} files cannot be read ({errors['damaged'][0][1]})",
                "fetch them again; --fix leaves these entries out",
                (one for one, _ in errors["damaged"]),
                image=image,
            )


def _of_turns(facts: Sequence[Facts]) -> Iterable[Fault]:
    labelled = [one for one in facts if one.orientation != 1 and one.label_size]
    wrong = [one for one in labelled if one.turned]
    unsure = [one for one in labelled if one.turned is None and one.image_size == one.label_size]
    for kind, found, what in (
        ("turned", wrong, "label maps are those of the pixels before that: they lie turned on their photos"),
        ("turned?", unsure, "whether the label maps were drawn before or after cannot be told"),
    ):
        if found:
            numbers = ", ".join(map(str, sorted({one.orientation for one in found})))
            yield _fault(
                kind,
                f"photos are turned by their EXIF orientation ({numbers}), here as by OpenCV and viewers; {what}",
                "write the photos anew, turned as the labels are and without EXIF; --fix turns the label maps"
                if kind == "turned"
                else "look at one with its labels over it; if they do not fit, write the photos anew without EXIF",
                found,
            )
    rest = [one for one in labelled if one.turned is False]
    if rest:
        yield _fault(
            "EXIF",
            "photos are turned by their EXIF orientation, and their label maps fit them so",
            "nothing for this program; others that do not heed EXIF (PIL, OpenCV before 3.1) see them lie otherwise",
            rest,
            image=True,
        )


def _of_sizes(facts: Sequence[Facts]) -> Iterable[Fault]:
    differing = [
        one
        for one in facts
        if one.image_size and one.label_size and one.image_size != one.label_size and not one.turned
    ]
    if differing:
        first = differing[0]
        yield _fault(
            "size",
            f"label maps and images differ in size (height x width {first.label_size} and {first.image_size})",
            "make the labels from the images used; --fix scales by nearest neighbour where only the scale differs, and "
            "leaves the others out",
            differing,
        )


def part_grey_palettes(dataset: SegmentationDataset, facts: Sequence[Facts]) -> tuple[list[Facts], list[Facts]]:
    """Those whose maps are the set's colours turned grey, and the others: VOC's class 1 is 38, 2 is 75, 15 is 147.

    Told file by file. A map without a level beyond the classes could be either (VOC's class 4 is 15): it is a palette's
    where all grey maps of the set could be. Where others hold labels beyond the classes, too few classes may have been
    given; then only void's level tells (VOC: 220)."""
    greys = class_greys(dataset)
    plain = [one for one in facts if one.kind in ("grey", "grey-rgb", "wide")]
    could = [one for one in plain if greys.keys() >= set(one.values)]
    found = [one for one in could if _beyond(dataset, one)]
    if len(could) == len(plain):
        found = could if found else []
    elif is_shifted(dataset, facts):
        found = []
    elif sum(bool(_beyond(dataset, one)) for one in plain) > len(found):
        void = {grey for grey, label in greys.items() if label in dataset.void}
        found = [one for one in found if void & set(one.values)]
    chosen = {id(one) for one in found}
    return [one for one in facts if id(one) in chosen], [one for one in facts if id(one) not in chosen]


def is_shifted(dataset: SegmentationDataset, facts: Sequence[Facts]) -> bool:
    """Whether labels run from 1 to the number of classes, 0 being void."""
    values = _all_values(facts)
    return dataset.num_classes in values and not values & set(dataset.void) and max(values) == dataset.num_classes


def has_zero_lines(dataset: SegmentationDataset, facts: Sequence[Facts]) -> bool:
    """Whether the outlines between objects are 0 and nothing is void: objects then hardly ever touch."""
    if dataset.from_file is not None or _all_values(facts) & set(dataset.void):
        return False
    separators, contacts = sum(one.separators for one in facts), sum(one.contacts for one in facts)
    return separators >= MIN_SEPARATORS and contacts <= separators // 20


def _all_values(facts: Sequence[Facts]) -> set[int]:
    return {value for one in facts for value in one.values}


def _beyond(dataset: SegmentationDataset, facts: Facts) -> list[int]:
    if dataset.from_file is not None:
        # Cityscapes' label ids end at 33.
        return [value for value in facts.values if value > 33 and value not in dataset.void]
    return [value for value in facts.values if value >= dataset.num_classes and value not in dataset.void]


def _of_values(dataset: SegmentationDataset, facts: Sequence[Facts]) -> Iterable[Fault]:
    coloured = [one for one in facts if one.kind == "colour"]
    clean, odd = [one for one in coloured if not one.strange], [one for one in coloured if one.strange]
    if clean:
        yield _fault(
            "colours",
            "labels are stored as colours, not as numbers",
            "--fix turns the classes' colours into numbers",
            clean,
        )
    if odd:
        colour = odd[0].strange[0]
        yield _fault(
            "unknown colours",
            f"labels are stored as colours, some of which are no class's (RGB {colour} in the first file)",
            "give the colours in classes.json (--classes); JPEG and scaled maps have lost theirs: make them again; "
            "--fix makes such pixels void",
            odd,
        )
    lossy = [one for one in facts if one.lossy]
    if lossy:
        yield _fault(
            "lossy",
            "label maps are JPEGs, whose values are not what was stored",
            "make them again as PNG; --fix leaves these entries out",
            lossy,
        )
    wide = [one for one in facts if one.kind == "wide"]
    if wide:
        yield _fault(
            "16 bits",
            "label maps are 16-bit pictures; labels are read from 8-bit ones, here as by Caffe",
            "write them as 8-bit PNGs; --fix does",
            wide,
        )
    reordered = [one for one in facts if one.orders]
    if reordered:
        index, label = next((i, label) for i, label in reordered[0].orders if i != label)
        yield _fault(
            "palette order",
            f"palettes hold the classes' colours in another order (in the first file index {index} has the colour of "
            f"class {label}): an editor has numbered them anew",
            "save with the palette's order kept, or turn colours into numbers; --fix numbers by colour",
            reordered,
        )
    facts = [one for one in facts if not one.orders]
    palettes, rest = part_grey_palettes(dataset, facts)
    if palettes:
        sure = [one for one in palettes if _beyond(dataset, one)]
        some = sorted({value for one in sure for value in _beyond(dataset, one)})[:6]
        yield _fault(
            "palette as grey",
            f"labels are grey levels of the palette's colours ({', '.join(map(str, some))} ...): a palette picture was "
            "read as grey and stored",
            "read the palette's indices (Pillow does, mode P); --fix turns the grey levels back into "
            "classes, and into void where two classes have one level (VOC: 38 and 113)",
            sure,
        )
    beyond = [one for one in rest if _beyond(dataset, one)]
    if beyond and is_shifted(dataset, rest):
        yield _fault(
            "void is 0",
            f"labels run from 0 to {dataset.num_classes}, one more than there are classes, and none is void: 0 stands "
            "for void and classes begin at 1",
            "subtract 1 and write void as 255; --fix does",
            beyond,
        )
    elif beyond:
        value = _beyond(dataset, beyond[0])[0]
        yield _fault(
            "beyond classes",
            f"labels beyond the {dataset.num_classes} classes (0 to {dataset.num_classes - 1}); the first file holds "
            f"{value}",
            "give the right number of classes (--classes), or map these labels; --fix makes them void",
            beyond,
        )
    if not beyond and has_zero_lines(dataset, rest):
        yield _fault(
            "void is 0",
            "no pixel is void, and objects are parted by thin lines of 0: void outlines were written as 0, which "
            "teaches the network that borders are background",
            "take the original label maps, whose outlines are 255; --fix makes the lines between objects void, those "
            "between objects and background cannot be told from it",
            [one for one in rest if one.separators],
        )
    elif (
        facts
        and not beyond
        and not palettes
        and not coloured
        and dataset.from_file is None
        and not _all_values(facts) & set(dataset.void)
    ):
        yield _fault(
            "no void",
            "no pixel of any label map is void",
            "nothing, if all of the set is labelled; else find out which label stands for void and write it as 255",
            facts[:1],
        )


def _of_splits(facts: Sequence[Facts]) -> Iterable[Fault]:
    splits: dict[str, list[Facts]] = defaultdict(list)
    for one in facts:
        splits[one.split].append(one)
    for (first, mine), (second, others) in combinations(splits.items(), 2):
        if first.startswith("trainval") or second.startswith("trainval"):
            continue
        shared = overlap(mine, others)
        if shared:
            yield _fault(
                "overlap",
                f"images are in both {first} and {second}: scores on {second} are not those of unseen images",
                f"take them out of {first}; --fix does",
                shared,
                image=True,
            )
    for split, inside in splits.items():
        twice = repeated(inside)
        if twice:
            yield _fault(
                "listed twice",
                f"images are listed more than once in {split}",
                "--fix lists them once",
                twice,
                image=True,
            )


def repeated(facts: Iterable[Facts]) -> list[Facts]:
    """Those whose image file was listed before; names say nothing, other folders may hold the same ones."""
    seen: set[Path] = set()
    again = []
    for one in facts:
        if one.sample.image in seen:
            again.append(one)
        seen.add(one.sample.image)
    return again


def overlap(mine: Iterable[Facts], others: Iterable[Facts]) -> list[Facts]:
    """Those of `mine` whose image is among `others`, as the same file or as a copy of it."""
    others = list(others)
    files, digests = {one.sample.image for one in others}, {one.digest for one in others if one.digest}
    return [one for one in mine if one.sample.image in files or one.digest in digests]
