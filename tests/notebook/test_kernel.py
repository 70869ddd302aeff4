"""The harness itself: both kernels answer, can be interrupted, asked, killed and started again."""

from collections.abc import Iterator

import pytest

from tests.notebook.kernel import Kernel, kernel

pytestmark = pytest.mark.xdist_group("kernels")


@pytest.fixture(scope="module", params=["ipykernel 7", "ipykernel 6"])
def either(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with kernel(old=request.param == "ipykernel 6") as started:
        yield started


def test_it_is_the_kernel_that_it_says(either: Kernel) -> None:
    assert either.say("import ipykernel; ipykernel.version_info[0]") == str(either.version)
    assert either.version == (6 if either.old else 7)


def test_a_cell_that_is_interrupted_says_so(either: Kernel) -> None:
    cell = either.begin("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    either.until(lambda: "begun" in cell.text, "the beginning")
    either.interrupt()
    either.until(lambda: cell.ended, "the end")
    assert "KeyboardInterrupt" in cell.error


def test_standard_input_is_asked_and_answered(either: Kernel) -> None:
    either.prompts.clear()
    cell = either.begin("input('name? ')")
    either.until(lambda: either.prompts, "the prompt")
    either.type("Ada")
    either.until(lambda: cell.ended, "the end")
    assert (either.prompts, cell.text) == (["name? "], "'Ada'")


def test_a_widget_of_the_kernel_is_changed_from_outside(either: Kernel) -> None:
    either.say(
        "import anywidget, traitlets\n"
        "class Box(anywidget.AnyWidget):\n"
        "    _esm = 'export default {render() {}}'\n"
        "    value = traitlets.Unicode('old').tag(sync=True)\n"
        "box = Box()"
    )
    box = either.widget(value="old")
    either.set_widget(box, value="new")
    assert either.say("box.value") == "'new'"
