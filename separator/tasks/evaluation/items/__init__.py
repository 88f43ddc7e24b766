"""Networks scored on test items one by one, with their spikes, operations and energy."""
