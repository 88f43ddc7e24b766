"""Commands whose every value may come from a YAML file or the command line."""

from typing import Any

import jsonargparse


class ConfiguredParser(jsonargparse.ArgumentParser):
    """jsonargparse's parser; groups of arguments added for a class come back as objects of that class."""

    def parse_args(self, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:  # type: ignore[override]
        """Parse, then build the objects."""
        return self.instantiate_classes(super().parse_args(*args, **kwargs))
