"""A page of a real JupyterLab in a real browser: where it is, how a notebook is run in it, and how it looks.

``flaws`` reads a page as it is drawn: what is typeset as mathematics, cut off, drawn over something else, too
small, too faint, or without a name for who does not see it (axe-core, the rules of WCAG 2.2 A and AA).
"""

import json
import re
import shutil
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from workbench.settings import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 120  # seconds; everything takes a few on a quiet machine
READY = """() => {
    const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return Boolean(context?.isReady && context.kernelDisplayStatus === 'idle');
}"""  # the circle in the toolbar says idle before there is a kernel
RUN_ALL = """() => {
    window.ran = undefined;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(ran => { window.ran = ran; });
}"""  # not awaited here: a dialog would hang it for ever
LOOKS = (("Light", 1100), ("Dark", 1100), ("Light", 900))

CONTRAST = """element => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const paint = color => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); };
    const light = () => {
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(
            each => each / 255 <= 0.04045 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const grounds = [];
    for (let at = element; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    grounds.forEach(paint);
    const behind = light();
    const style = getComputedStyle(element);
    paint(element instanceof SVGElement ? style.fill : style.color);
    const lights = [behind, light()].sort((one, other) => other - one);
    return (lights[0] + 0.05) / (lights[1] + 0.05);
}"""  # as WCAG 2.2 defines it

_DRAWN = (
    """() => {
    const contrast = """
    + CONTRAST
    + """;
    const found = new Set();
    const named = element => {
        const cell = element.closest('.jp-CodeCell');
        const line = cell?.querySelector('.cm-line:last-child')?.textContent.slice(0, 60) ?? '';
        const words = (element.textContent || element.tagName).trim().replace(/\\s+/g, ' ');
        return `${line} | ${words.slice(0, 60)}`;
    };
    const say = (what, element) => found.add(`${what}: ${named(element)}`);
    const isSeen = element => element.getClientRects().length > 0
        && getComputedStyle(element).visibility === 'visible';
    const hasText = element => [...element.childNodes].some(
        node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
        if (output.querySelector('.progress-bar-danger')) say('a wait that ended red', output);
        if (output.querySelector('mjx-container, .MathJax')) say('typeset as mathematics', output);
        const isTable = window.innerWidth < 1000 && output.querySelector('table'); // which may be scrolled
        if (output.scrollWidth > output.clientWidth + 1 && !isTable) say('wider than the page', output);
        for (const element of output.querySelectorAll(':not(svg *)')) {
            if (!isSeen(element)) continue;
            const style = getComputedStyle(element);
            const isOurs = element.textContent.trim() && element.clientWidth > 1
                && !element.closest('.js-plotly-plot');
            const isLarger = element.scrollWidth > element.clientWidth + 1
                || element.scrollHeight > element.clientHeight + 1;
            const cuts = /hidden|clip/.test(style.overflowX + style.overflowY)
                && style.textOverflow !== 'ellipsis';
            if (isOurs && cuts && isLarger) say('cut off', element);
            const isRead = hasText(element) && !element.matches('style, script, option');
            if (isRead && parseFloat(style.fontSize) < 11) say(`letters of ${style.fontSize}`, element);
        }
        for (const svg of output.querySelectorAll('svg.wb-svg')) {
            if (!isSeen(svg)) continue;
            const frame = svg.getBoundingClientRect();
            const written = [...svg.querySelectorAll('text')];
            const words = written.filter(each => isSeen(each) && each.textContent.trim());
            const boxes = words.map(each => each.getBoundingClientRect());
            words.forEach((word, n) => {
                const box = boxes[n];
                const isInside = box.left > frame.left - 2 && box.right < frame.right + 1
                    && box.top > frame.top - 1 && box.bottom < frame.bottom + 1;
                if (!isInside) say('outside of its chart', word);
                const size = parseFloat(getComputedStyle(word).fontSize) * word.getScreenCTM().a;
                if (size < 11.5) say(`letters of ${size.toFixed(1)}px`, word);
                const against = contrast(word);
                if (against < 4.5) say(`contrast of ${against.toFixed(1)}`, word);
                for (let m = 0; m < n; m++) {
                    const other = boxes[m];
                    const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
                    const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
                    if (wide > 2 && high > 4) say(`drawn over '${words[m].textContent.slice(0, 40)}'`, word);
                }
            });
        }
    }
    return [...found];
}"""
)
_OPEN = """() => document.querySelectorAll('.jp-OutputArea-output details:not([open])').forEach(
    each => { each.open = true; each.dataset.opened = ''; })"""
_CLOSE = """() => document.querySelectorAll('details[data-opened]').forEach(each => { each.open = false; })"""
_AXE = """async () => {
    const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const here = { include: [['.jp-OutputArea-output']], exclude: [['.js-plotly-plot']] };
    const checked = await axe.run(here, { runOnly: rules, resultTypes: ['violations'] });
    return checked.violations.flatMap(
        rule => rule.nodes.map(node => `${rule.id}: ${node.target.join(' ')} ${node.html.slice(0, 160)}`));
}"""


def run_all(page: "Page", address: str) -> None:
    """Open a notebook and run all its cells, as its menu does."""
    page.goto(address)
    page.wait_for_function(READY)
    page.evaluate(RUN_ALL)


def put(lab: str, name: str, notebook: nbformat.NotebookNode) -> str:
    """Save a notebook in the lab at this address; the notebook's own address."""
    body = json.dumps({"type": "notebook", "content": json.loads(nbformat.writes(notebook))}).encode()
    address = re.sub(r"/doc/tree/.*\?reset&", f"/api/contents/{name}?", lab)
    urllib.request.urlopen(urllib.request.Request(address, body, method="PUT"), timeout=60).close()
    return lab.format(name)


def with_parameters(name: str, **values: object) -> nbformat.NotebookNode:
    """One of the notebooks, with parameters changed as a person would."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for parameter, value in values.items():
        given = f"{parameter} = {value!r}".replace("\\", "\\\\")
        changed, times = re.subn(rf"(?m)^{parameter} = .*?(?=  #|$)", given, parameters.source)
        assert times == 1, (name, parameter)
        parameters.source = changed
    return notebook


def errors_of(page: "Page") -> list[str]:
    """What the browser complains of from now on."""
    heard: list[str] = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda said: heard.append(said.text) if said.type == "error" else None)
    return heard


def show_in(page: "Page", theme: str, width: int) -> None:
    """Show the page in a theme (Light, Dark) and a width in pixels."""
    page.set_viewport_size({"width": width, "height": 1400})
    change = f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
    page.evaluate(change)
    lit = str(theme == "Light").lower()
    page.locator(f"body[data-jp-theme-light='{lit}']").wait_for(state="attached")
    page.locator("#jupyterlab-splash").wait_for(state="detached")  # it covers the page while a theme loads
    page.wait_for_function("() => document.querySelector('.jp-WindowedPanel-outer').scrollHeight > 300")


def flaws(page: "Page", folder: Path, name: str) -> list[str]:
    """What is wrong with how the outputs look, in light, dark and narrow; a picture of each in the folder."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = []
    for theme, width in LOOKS:
        show_in(page, theme, width)
        page.wait_for_load_state("networkidle")
        _picture(page, folder / f"{name}-{theme}-{width}.png")
        page.evaluate(_OPEN)
        wrong = [*page.evaluate(_DRAWN), *page.evaluate(_AXE)]
        page.evaluate(_CLOSE)
        found += [f"{name} {theme} {width}: {each}" for each in wrong]
    return found


def _picture(page: "Page", file: Path) -> None:
    """Keep the whole notebook as pictures of at most 1,700 pixels."""
    outer = "document.querySelector('.jp-WindowedPanel-outer')"
    high = min(int(page.evaluate(f"{outer}.scrollHeight")) + 120, 16_000)
    width = page.evaluate("window.innerWidth")
    page.set_viewport_size({"width": width, "height": high})
    page.evaluate(f"{outer}.scrollTop = 0")
    for number, top in enumerate(range(0, high, 1700)):
        clip = {"x": 0, "y": top, "width": width, "height": min(1700, high - top)}
        page.screenshot(path=file.with_stem(f"{file.stem}-{number}"), clip=clip)
