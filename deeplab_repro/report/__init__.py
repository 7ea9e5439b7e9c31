"""Self-contained HTML reports: scores, plots and pictures in one file."""

from .page import Picture, SceneRow, ScoreReport, render_report, write_report

__all__ = ["Picture", "SceneRow", "ScoreReport", "render_report", "write_report"]
