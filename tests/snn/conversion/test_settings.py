import pytest

from separator.errors import UserError
from separator.snn.conversion.settings import ConversionSettings


@pytest.mark.parametrize("rule", ["surrogate", "stdb"])
def test_further_passes_are_in_tandem(rule):
    assert ConversionSettings(learning=rule).passes == 1
    with pytest.raises(UserError, match=f"layers learn by {rule} in one pass only; give passes 1"):
        ConversionSettings(learning=rule, passes=2)


def test_a_rate_is_given_where_it_is_the_rule():
    assert ConversionSettings(threshold="rate", rate=0.1).rate == 0.1
    with pytest.raises(UserError, match="the threshold rule rate needs a rate"):
        ConversionSettings(threshold="rate")
