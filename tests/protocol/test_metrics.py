"""What is rendered for Prometheus can be read, whatever is in it."""

from hypothesis import given
from hypothesis import strategies as st

from agentcom.protocol.metrics import Family, by_label, counter, gauge, render
from tests.prometheus import parse

VALUES = st.integers(-(10**12), 10**12) | st.floats(-1e30, 1e30, allow_nan=False)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])) | st.just('a"\\\nb'), VALUES
    )
)
def test_any_label_and_any_number_are_read_back(samples):
    [metric] = parse(render([by_label("x_bytes", "gauge", "What\\is\nit.", "of", samples)]).decode()).values()
    assert metric.samples == {(("of", label),): float(value) for label, value in samples.items()}
    assert metric.help == "What\\\\is\\nit."


def test_names_have_the_prefix_and_their_kind():
    found = parse(render([gauge("a", "One.", 1), counter("b_total", "Two.", 2.5)]).decode())
    assert {name: (metric.kind, metric.samples[()]) for name, metric in found.items()} == {
        "agentcom_a": ("gauge", 1.0),
        "agentcom_b_total": ("counter", 2.5),
    }


def test_several_labels_are_told_in_their_order():
    family = Family("tasks", "gauge", "Tasks.", {(("lane", "low"), ("phase", "held")): 3})
    assert b'agentcom_tasks{lane="low",phase="held"} 3\n' in render([family])
