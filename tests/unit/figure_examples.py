"""What tests of figures ask of every figure."""

import io
from itertools import pairwise

import matplotlib


def rendered(figure):
    """Draw it as it is saved; the row labels of a panel must stay apart."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100, format="png")
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.get_yticklabels() if label.get_text()]
        boxes.sort(key=lambda box: box.y0)
        assert all(above.y0 >= below.y1 - 1 for below, above in pairwise(boxes))
    return buffer.getvalue()


def everything(figure):
    """Every text of a figure, legends included."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
