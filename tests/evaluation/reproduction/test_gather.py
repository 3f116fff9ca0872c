"""Tables and figures put into one folder, whole, with a list of what is there."""

from pathlib import Path

from argus_evaluation.reproduction.gather import gather
from argus_evaluation.reproduction.paper_plan import read_plan
from argus_training.ablations.ablation_grid import read_grid
from argus_training.ablations.ablation_steps import last_step, model_of


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_results_have_the_papers_names_and_what_is_missing_is_not_listed(plan_file):
    out = Path("out")
    for name in ("table1.md", "reports.png"):
        write(Path("data", name), name)
    for grid in ("table2", "figure4"):
        write(out / grid / "figure.png", grid)
    write(out / "figure7.html", "page")
    cell = read_grid(Path("recipes/table2.yaml")).cells()[1]
    write(model_of(last_step(cell.settings, 0), out / "steps") / "README.md", "card")
    listed = gather(read_plan(plan_file), out).read_text()
    found = {path.name: path.read_text() for path in out.iterdir() if path.is_file()}
    assert found | {"README.md": ""} == {
        "README.md": "",
        "table1.md": "table1.md",
        "figure2.png": "reports.png",
        "figure4.png": "figure4",
        "figure7.html": "page",
    }
    assert (out / "cards" / "argus-nr.md").read_text() == "card"
    assert "[figure4.png](figure4.png)" in listed and "[figure4](figure4/table.md)" in listed
    assert "phantoms, not patients" in listed and "table4.md" not in listed
