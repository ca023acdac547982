"""Our errors in a notebook's kernel: a sentence, a link, and the cell fails all the same."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

BEGIN = "import os\nimport workbench as wb"
MISSING = 'wb.open_project("nothing").need("baseline", "01_baseline")'
WAIT = """
class Waits(os.PathLike):
    def __fspath__(self):
        raise KeyboardInterrupt
wb.read(Waits())
"""
SENTENCE = "Project nothing has no baseline yet; run 01_baseline first."


def shown(outputs: list[nbformat.NotebookNode]) -> str:
    """The text of the error that a cell ends with."""
    [text] = ["\n".join(one.traceback) for one in outputs if one.output_type == "error"]
    return text


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[nbformat.NotebookNode]]:
    """What cells show that fail, one after the other, beside a notebook 01_baseline."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "01_baseline.ipynb").touch()
    sources = (BEGIN, MISSING, "%tb", "1 / 0", "raise KeyboardInterrupt", WAIT)
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    return [cell.outputs for cell in client.execute().cells]


def test_our_error_is_its_sentence_and_a_link_to_the_notebook_it_names(outputs):
    [error, link] = outputs[1]
    assert (error.ename, error.evalue, error.traceback) == ("SetupError", SENTENCE, [SENTENCE])
    assert link.data["text/html"] == '<p>Open <a href="01_baseline.ipynb">01_baseline</a></p>'


def test_tb_still_shows_where_it_came_from(outputs):
    assert "project.py" in shown(outputs[2])
    assert SENTENCE in shown(outputs[2])


def test_other_errors_and_interrupts_show_as_ever(outputs):
    assert "ZeroDivisionError" in shown(outputs[3])
    assert "Traceback" in shown(outputs[4])


def test_an_interrupt_inside_the_workbench_is_one_line(outputs):
    assert shown(outputs[5]) == "Interrupted; run the cell again to go on."


def test_whoever_runs_the_notebook_still_fails_with_the_sentence():
    notebook = new_notebook(cells=[new_code_cell(source) for source in (BEGIN, MISSING)])
    with pytest.raises(CellExecutionError, match=SENTENCE):
        NotebookClient(notebook).execute()
