import numpy as np
import pytest
from matplotlib.figure import Figure

from argus_processing.curation.overview import report_figure
from argus_processing.curation.overview.report_figure import frequent_terms, save_report_figure

REPORTS = ["There is a nodule. Nodule again, with effusion."] * 3 + ["No effusion."] * 2 + ["Emphysema of the lung."]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to be looked at."""
    figures = []
    real = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kw: figures.append(figure) or real(figure, *args, **kw)
    )
    return figures


def test_terms_are_counted_by_reports_and_short_words_left_out():
    assert frequent_terms(REPORTS) == {
        "effusion": 5, "again": 3, "nodule": 3, "there": 3, "with": 3, "emphysema": 1, "lung": 1
    }  # fmt: skip
    assert list(frequent_terms(REPORTS, 2)) == ["effusion", "again"]


def test_the_figure_has_the_cloud_left_and_the_lengths_right(drawn, tmp_path, monkeypatch):
    wordcloud = pytest.importorskip("wordcloud")
    asked = []
    real = wordcloud.WordCloud.generate_from_frequencies

    def generate(cloud, terms, **options):
        asked.append(terms)
        return real(cloud, terms, **options)

    monkeypatch.setattr(wordcloud.WordCloud, "generate_from_frequencies", generate)
    save_report_figure(REPORTS * 2, tmp_path / "reports.png")
    cloud, lengths = drawn[0].axes
    assert cloud.get_position().x1 < lengths.get_position().x0
    # Neither "there", "with" nor "again", nor "emphysema", which too few reports name.
    assert asked[0] == {"effusion": 10, "nodule": 6}
    (picture,) = cloud.images
    assert picture.get_array().shape == (800, 1000, 3) and np.ptp(picture.get_array()) > 200
    assert sum(bar.get_height() for bar in lengths.patches) == 2 * len(REPORTS)
    edges = [bar.get_x() for bar in lengths.patches]
    assert (edges[0], lengths.patches[-1].get_x() + lengths.patches[-1].get_width()) == pytest.approx((3, 11))


def test_the_same_reports_give_the_same_bytes_whatever_font_is_set(tmp_path, monkeypatch):
    wordcloud = pytest.importorskip("wordcloud")
    save_report_figure(REPORTS, tmp_path / "one.png")
    # As the environment variable FONT_PATH sets it, when the package is imported.
    monkeypatch.setattr(wordcloud.wordcloud, "FONT_PATH", str(tmp_path / "nowhere.ttf"))
    save_report_figure(REPORTS, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_without_the_package_the_panel_says_that_there_is_no_cloud(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(report_figure, "wordcloud", None)
    save_report_figure(REPORTS, tmp_path / "reports.png")
    cloud, lengths = drawn[0].axes
    assert [text.get_text() for text in cloud.texts] == ["no word cloud: the package\nwordcloud is not installed"]
    assert not cloud.images and sum(bar.get_height() for bar in lengths.patches) == len(REPORTS)


def test_reports_without_a_term_give_an_empty_cloud(drawn, tmp_path):
    save_report_figure(["No. 3", "There."], tmp_path / "reports.png")
    assert not drawn[0].axes[0].images
