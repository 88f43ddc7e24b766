"""The arithmetic that makes a spike the same decision everywhere."""
