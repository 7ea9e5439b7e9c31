"""The recorded scores of the bundled models, measured again where the photographs are: verify on the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.evaluate.evaluate import NETWORK, REFINED, evaluate
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.predict.preprocessing import bundled_record
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.verify.answers import DIFFERS, REPRODUCED, Answer
from deeplab_repro.verify.records import Record

# Points: another order of summation moves single pixels across a decision.
TOLERANCE = 0.2
STAGES = {"before": ("", NETWORK), "after": ("dense CRF", REFINED)}


def own_records(names: Iterable[str]) -> list[Record]:
    """The scores recorded beside bundled models.

    Args:
        names: Of models that come with the package, those without such scores left out.

    Returns:
        Two records a model, before and after the CRF.

    Example:
        >>> from deeplab_repro.verify.own import own_records
        >>> [record.id for record in own_records(["animals"])]
        ['OWN-animals-before', 'OWN-animals-after']
    """
    found = []
    for name in names:
        record = bundled_record(name)
        if "val" not in record:
            continue
        for stage, (options, _) in STAGES.items():
            found.append(
                Record(
                    id=f"OWN-{name}-{stage}",
                    paper="own",
                    source="bundled models",
                    model=name,
                    metric="mIoU",
                    value=100 * record["val"][f"miou_{stage}"],
                    check="own",
                    unit="%",
                    dataset=name,
                    split="val",
                    options=options,
                    tolerance=TOLERANCE,
                )
            )
    return found


def own_answers(
    records: Iterable[Record],
    data: Mapping[str, Path],
    work: Path,
    device: str = "cpu",
    ranks: Ranks = Ranks(),
    steps: Callable[[int, int], None] = lambda done, total: None,
) -> list[Answer]:
    """Measure the scores of bundled models again.

    Args:
        records: Of `own_records`.
        data: Folders in VOC's layout by the model's name.
        work: Where the counts of every image are kept.
        device: Where the net runs.
        ranks: This process among those of the job, which share the images.
        steps: Told how many images are done, and of how many.

    Returns:
        One answer a record.

    Raises:
        ValueError: A folder has other classes than the model.
        OSError: A file cannot be read.
    """
    answers: list[Answer] = []
    for name in dict.fromkeys(record.model for record in records):
        segmenter, facts = Segmenter(name, device=device), bundled_record(name)
        dataset = open_dataset(data[name], "val")
        if dataset.class_names != segmenter.class_names:
            raise ValueError(
                f"--data {name}={data[name]}: its classes are {', '.join(dataset.class_names)}; the model {name} has "
                f"{', '.join(segmenter.class_names)}"
            )
        counts = work / f"own-{name}"
        counts.mkdir(parents=True, exist_ok=True)
        result = evaluate(
            segmenter, dataset, segmenter.crf, ranks=ranks, resume=counts,
            settings={"net": segmenter.fingerprint(), "crf": facts["crf"]}, progress=steps,
        )  # fmt: skip
        stages = result.summary()
        for record in records:
            if record.model != name:
                continue
            stage = stages[STAGES[record.id.rpartition("-")[2]][1]]
            ours = 100 * stage["miou"]
            verdict = REPRODUCED if record.agrees(ours) else DIFFERS
            part = result.images != facts["val"]["images"]
            detail = f"on {result.images} of the {facts['val']['images']} images" if part else ""
            per_class = {key: 100 * value for key, value in stage["per_class"].items()}
            answers.append(Answer(record, verdict, ours, detail, per_class=per_class))
    return answers
