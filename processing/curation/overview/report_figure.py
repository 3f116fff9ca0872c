"""Draw Figure 2 of the paper: a word cloud of the reports beside the histogram of their lengths."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...report_text import count_tokens, words_of

try:
    import wordcloud
except ImportError:  # a folder is prepared without it too
    wordcloud = None

NUM_TERMS = 120
MIN_TERM_LETTERS = 4  # excludes articles and prepositions
MIN_REPORTS = 5  # with a term that is drawn: a word of few reports could be a name, and the figure is published
NO_CLOUD = "no word cloud: the package\nwordcloud is not installed"
FONT = "DroidSansMono.ttf"  # comes with wordcloud; without its name, an environment variable could give another


def frequent_terms(reports: Sequence[str], number: int = NUM_TERMS) -> dict[str, int]:
    """Return the words in most reports with their number of reports, most frequent first, ties sorted by word."""
    in_reports = Counter(word for report in reports for word in set(words_of(report)) if len(word) >= MIN_TERM_LETTERS)
    return dict(sorted(in_reports.items(), key=lambda entry: (-entry[1], entry[0]))[:number])


def save_report_figure(reports: Sequence[str], path: Path) -> None:
    """Draw the most frequent terms as a word cloud (left) and the report lengths in tokens as a histogram (right).

    The same reports give the same bytes. Without the package `wordcloud` the left panel holds a line that says so.
    """
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    cloud, lengths = figure.subplots(1, 2)
    _draw_cloud(cloud, reports)
    lengths.hist([count_tokens(report) for report in reports], bins=40, color="#33658a")
    lengths.set(xlabel="tokens", ylabel="reports", title="Report length")
    # No date and no version in the file.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_cloud(axes: Axes, reports: Sequence[str]) -> None:
    axes.set(xticks=[], yticks=[], title="Most frequent terms")
    if wordcloud is None:
        axes.text(0.5, 0.5, NO_CLOUD, ha="center", va="center", transform=axes.transAxes)
        return
    found = frequent_terms(reports).items()
    terms = {word: count for word, count in found if count >= MIN_REPORTS and word not in wordcloud.STOPWORDS}
    if terms:
        axes.imshow(_cloud_of(terms), interpolation="bilinear", aspect="auto")


def _cloud_of(terms: Mapping[str, int]) -> Any:
    """Return the picture of a word cloud; the larger a term, the more reports hold it."""
    cloud = wordcloud.WordCloud(
        font_path=str(Path(wordcloud.__file__).with_name(FONT)),
        width=1000,
        height=800,
        background_color="white",
        colormap="Dark2",
        random_state=0,
    )
    return cloud.generate_from_frequencies(terms).to_array()
