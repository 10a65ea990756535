"""Tables of translations."""

import warnings

from torchatlas.pictures.translations import table


def test_nothing_in_a_table_is_interpreted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library within TensorBoard
        from tensorboard.plugin_util import markdown_to_safe_html
    text = r"a | b * c * _d_ `e` <b>f</b> [g](h) \i & #1"
    shown = markdown_to_safe_html(table(("source", "output"), [(text, "two\nlines")]))
    assert "<td>a | b * c * _d_ `e` &lt;b&gt;f&lt;/b&gt; [g](h) \\i &amp; #1</td>" in shown
    assert "<td>two lines</td>" in shown
    assert shown.count("<td>") == 2
