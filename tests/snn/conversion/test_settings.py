import pytest

from separator.errors import UserError
from separator.snn.conversion.settings import ConversionSettings


@pytest.mark.parametrize("rule", ["surrogate", "stdb"])
def test_further_passes_are_in_tandem(rule):
    assert ConversionSettings(learning=rule).passes == 1
    with pytest.raises(UserError, match=f"layers learn by {rule} in one pass only; give passes 1"):
        ConversionSettings(learning=rule, passes=2)
