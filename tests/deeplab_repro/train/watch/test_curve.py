"""The loss curve of a run."""

from deeplab_repro.train.watch.curve import Curve
from deeplab_repro.train.watch.watchers import JsonLog


def test_loss_curve_takes_its_past_from_the_log(tiny):
    tiny.write("test_iter: 2 test_interval: 3")
    log, page = tiny.folder / "log.jsonl", tiny.folder / "curve.html"
    tiny.train("part", max_iter=7, watchers=[JsonLog(log), Curve(page, log)])
    state = str(tiny.folder / "part_iter_7.solverstate")
    curve = Curve(page, log)
    tiny.train("part", snapshot=state, watchers=[JsonLog(log), curve])
    text = page.read_text()
    assert f"0 to 12 of 12; those before 7 from {log}" in text
    assert [text.count(f"<tr><td>{updates}</td>") for updates in (0, 3, 6, 9)] == [1] * 4
    (line, *_) = curve._figure().axes[0].get_lines()
    assert line.get_xydata().tolist() == [[row["iteration"], row["loss"]] for row in tiny.rows("log.jsonl")]
    tiny.train("part", snapshot=state, watchers=[Curve(page)])
    assert "7 to 12 of 12; those before 7 are not shown" in page.read_text()
