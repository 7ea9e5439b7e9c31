"""Diagnosis of data sets: what people get wrong about labels and lists, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

from deeplab_repro.data.sets.datasets import VOID, SegmentationDataset
from deeplab_repro.data.sets.label_facts import Finding, class_greys, examine, overlap, repeated

# Fewer pixels of thin lines than this may be chance.
MIN_SEPARATORS = 50


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a data set.

    Args:
        kind: Its short name.
        what: What is wrong, in words.
        remedy: What to do.
        files: The files it is found in.
    """

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
    """What was found in the files of a data set.

    Args:
        findings: Of every sample, in the order of the lists.
        faults: Those told from the findings, gravest first.
    """

    findings: tuple[Finding, ...]
    faults: tuple[Fault, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing worse than notes was found."""
        return all(fault.is_note for fault in self.faults)

    def has(self, kind: str) -> bool:
        """Whether a fault was found.

        Args:
            kind: The fault's kind.

        Returns:
            The answer.
        """
        return any(fault.kind == kind for fault in self.faults)


def diagnose(
    datasets: Sequence[SegmentationDataset], workers: int = 2, progress: Callable[[int, int], None] = lambda *_: None
) -> Diagnosis:
    """Look at every file of one or several splits of a data set. What the files hold raises nothing.

    Args:
        datasets: The splits.
        workers: Threads that read files.
        progress: Told how many samples are done, and of how many.

    Returns:
        What is wrong.
    """
    pairs = [(dataset, sample) for dataset in datasets for sample in dataset.samples]
    findings: list[Finding] = []
    with ThreadPoolExecutor(workers) as pool:
        for finding in pool.map(lambda pair: examine(*pair), pairs):
            findings.append(finding)
            progress(len(findings), len(pairs))
    return Diagnosis(tuple(findings), tuple(_faults(datasets[0], findings)))


def _faults(dataset: SegmentationDataset, findings: Sequence[Finding]) -> Iterable[Fault]:
    yield from _of_files(findings)
    yield from _of_turns(findings)
    yield from _of_sizes(findings)
    yield from _of_values(dataset, findings)
    yield from _of_splits(findings)
    palette = [finding for finding in findings if finding.kind == "palette"]
    if palette:
        yield _fault(
            "palette",
            "palette PNGs: read here by index, but as grey by OpenCV and Caffe (class 1 becomes 38, void 220)",
            "nothing for this program; for others --fix writes grey PNGs that hold the labels themselves",
            palette,
        )


def _fault(kind: str, what: str, remedy: str, findings: Iterable[Finding], image: bool = False) -> Fault:
    files = tuple(
        str(finding.sample.image if image or finding.sample.label is None else finding.sample.label)
        for finding in findings
    )
    return Fault(kind, what, remedy, files)


def _of_files(findings: Sequence[Finding]) -> Iterable[Fault]:
    for which, image in (("image", True), ("label", False)):
        errors = defaultdict(list)
        for finding in findings:
            error = finding.image_error if image else finding.label_error
            if error:
                errors["missing" if error == "No such file or directory" else "damaged"].append((finding, error))
        if errors["missing"]:
            yield _fault(
                f"missing {which}",
                f"{which} files that a list names are not there",
                "correct the list or the folder; --fix leaves these entries out",
                (finding for finding, _ in errors["missing"]),
                image=image,
            )
        if errors["damaged"]:
            yield _fault(
                f"damaged {which}",
                f"{which} files cannot be read ({errors['damaged'][0][1]})",
                "fetch them again; --fix leaves these entries out",
                (finding for finding, _ in errors["damaged"]),
                image=image,
            )


def _of_turns(findings: Sequence[Finding]) -> Iterable[Fault]:
    labelled = [finding for finding in findings if finding.orientation != 1 and finding.label_size]
    wrong = [finding for finding in labelled if finding.turned]
    unsure = [finding for finding in labelled if finding.turned is None and finding.image_size == finding.label_size]
    for kind, affected, what in (
        ("turned", wrong, "label maps are those of the pixels before that: they lie turned on their photos"),
        ("turned?", unsure, "whether the label maps were drawn before or after cannot be told"),
    ):
        if affected:
            numbers = ", ".join(map(str, sorted({finding.orientation for finding in affected})))
            yield _fault(
                kind,
                f"photos are turned by their EXIF orientation ({numbers}), here as by OpenCV and viewers; {what}",
                "write the photos anew, turned as the labels are and without EXIF; --fix turns the label maps"
                if kind == "turned"
                else "look at one with its labels over it; if they do not fit, write the photos anew without EXIF",
                affected,
            )
    rest = [finding for finding in labelled if finding.turned is False]
    if rest:
        yield _fault(
            "EXIF",
            "photos are turned by their EXIF orientation, and their label maps fit them so",
            "nothing for this program; others that do not heed EXIF (PIL, OpenCV before 3.1) see them lie otherwise",
            rest,
            image=True,
        )


def _of_sizes(findings: Sequence[Finding]) -> Iterable[Fault]:
    differing = [
        finding
        for finding in findings
        if finding.image_size and finding.label_size and finding.image_size != finding.label_size and not finding.turned
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


def part_grey_palettes(
    dataset: SegmentationDataset, findings: Sequence[Finding]
) -> tuple[list[Finding], list[Finding]]:
    """Tell maps that hold a palette's colours turned grey from others: VOC's class 1 is 38, 2 is 75, 15 is 147.

    Told file by file. A map without a level beyond the classes could be either (VOC's class 4 is 15): it is a palette's
    where all grey maps of the set could be. Where others hold labels beyond the classes, too few classes may have been
    given; then only void's level tells (VOC: 220).

    Args:
        dataset: Whose colours and classes count.
        findings: What was found in its files.

    Returns:
        Those with grey levels for labels, and the others.
    """
    greys = class_greys(dataset)
    plain = [finding for finding in findings if finding.kind in ("grey", "grey-rgb", "wide")]
    could = [finding for finding in plain if greys.keys() >= set(finding.values)]
    chosen = [finding for finding in could if _beyond(dataset, finding)]
    if len(could) == len(plain):
        chosen = could if chosen else []
    elif is_shifted(dataset, findings):
        chosen = []
    elif sum(bool(_beyond(dataset, finding)) for finding in plain) > len(chosen):
        void = {level for level, label in greys.items() if label in dataset.void}
        chosen = [finding for finding in chosen if void & set(finding.values)]
    grey = {id(finding) for finding in chosen}
    return (
        [finding for finding in findings if id(finding) in grey],
        [finding for finding in findings if id(finding) not in grey],
    )


def is_shifted(dataset: SegmentationDataset, findings: Sequence[Finding]) -> bool:
    """Whether labels run from 1 to the number of classes, 0 being void.

    Args:
        dataset: Whose classes count.
        findings: What was found in its files.

    Returns:
        The answer.
    """
    values = _all_values(findings)
    return dataset.num_classes in values and not values & set(dataset.void) and max(values) == dataset.num_classes


def has_zero_lines(dataset: SegmentationDataset, findings: Sequence[Finding]) -> bool:
    """Whether the outlines between objects are 0 and nothing is void: objects then hardly ever touch.

    Args:
        dataset: Whose void labels count.
        findings: What was found in its files.

    Returns:
        The answer; False below MIN_SEPARATORS pixels of such outlines.
    """
    if dataset.from_file is not None or _all_values(findings) & set(dataset.void):
        return False
    separators, contacts = (
        sum(finding.separators for finding in findings),
        sum(finding.contacts for finding in findings),
    )
    return separators >= MIN_SEPARATORS and contacts <= separators // 20


def _all_values(findings: Sequence[Finding]) -> set[int]:
    return {value for finding in findings for value in finding.values}


def _beyond(dataset: SegmentationDataset, finding: Finding) -> list[int]:
    if dataset.from_file is not None:
        # Cityscapes' label ids end at 33.
        return [value for value in finding.values if value > 33 and value not in dataset.void]
    return [value for value in finding.values if value >= dataset.num_classes and value not in dataset.void]


def _of_values(dataset: SegmentationDataset, findings: Sequence[Finding]) -> Iterable[Fault]:
    yield from _of_storage(findings)
    yield from _of_labels(dataset, [finding for finding in findings if not finding.orders and finding.bits == 8])


def _of_storage(findings: Sequence[Finding]) -> Iterable[Fault]:
    coloured = [finding for finding in findings if finding.kind == "colour"]
    clean, odd = (
        [finding for finding in coloured if not finding.strange],
        [finding for finding in coloured if finding.strange],
    )
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
    lossy = [finding for finding in findings if finding.lossy]
    if lossy:
        yield _fault(
            "lossy",
            "label maps are JPEGs, whose values are not what was stored",
            "make them again as PNG; --fix leaves these entries out",
            lossy,
        )
    few = [finding for finding in findings if finding.bits < 8]
    if few:
        step = 255 // (2 ** few[0].bits - 1)
        yield _fault(
            "few bits",
            f"grey label maps of {few[0].bits} bit{'s' * (few[0].bits > 1)} a pixel: readers stretch their levels over "
            f"0..255, so that label 1 is read as {step}" + (", which is void" if step == VOID else ""),
            "write them as 8-bit PNGs; --fix does",
            few,
        )
    findings = [finding for finding in findings if finding.bits == 8]
    wide = [finding for finding in findings if finding.kind == "wide"]
    if wide:
        yield _fault(
            "16 bits",
            "label maps are 16-bit pictures; labels are read from 8-bit ones, here as by Caffe",
            "write them as 8-bit PNGs; --fix does",
            wide,
        )
    reordered = [finding for finding in findings if finding.orders]
    if reordered:
        index, label = next((i, label) for i, label in reordered[0].orders if i != label)
        yield _fault(
            "palette order",
            f"palettes hold the classes' colours in another order (in the first file index {index} has the colour of "
            f"class {label}): an editor has numbered them anew",
            "save with the palette's order kept, or turn colours into numbers; --fix numbers by colour",
            reordered,
        )


def _of_labels(dataset: SegmentationDataset, findings: Sequence[Finding]) -> Iterable[Fault]:
    palettes, rest = part_grey_palettes(dataset, findings)
    if palettes:
        sure = [finding for finding in palettes if _beyond(dataset, finding)]
        some = sorted({value for finding in sure for value in _beyond(dataset, finding)})[:6]
        yield _fault(
            "palette as grey",
            f"labels are grey levels of the palette's colours ({', '.join(map(str, some))} ...): a palette picture was "
            "read as grey and stored",
            "read the palette's indices (Pillow does, mode P); --fix turns the grey levels back into "
            "classes, and into void where two classes have one level (VOC: 38 and 113)",
            sure,
        )
    beyond = [finding for finding in rest if _beyond(dataset, finding)]
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
    if not beyond and findings and has_zero_lines(dataset, rest):
        yield _fault(
            "void is 0",
            "no pixel is void, and objects are parted by thin lines of 0: void outlines were written as 0, which "
            "teaches the network that borders are background",
            "take the original label maps, whose outlines are 255; --fix makes the lines between objects void, those "
            "between objects and background cannot be told from it",
            [finding for finding in rest if finding.separators],
        )
    elif (
        findings
        and not beyond
        and not palettes
        and not any(finding.kind == "colour" for finding in findings)
        and dataset.from_file is None
        and not _all_values(findings) & set(dataset.void)
    ):
        yield _fault(
            "no void",
            "no pixel of any label map is void",
            "nothing, if all of the set is labelled; else find out which label stands for void and write it as 255",
            findings[:1],
        )


def _of_splits(findings: Sequence[Finding]) -> Iterable[Fault]:
    splits: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        splits[finding.split].append(finding)
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
