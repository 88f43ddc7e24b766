"""Commands whose every value may come from a YAML file or the command line."""

from dataclasses import fields
from typing import Any, TypeVar

import jsonargparse

from separator.errors import UserError

Settings = TypeVar("Settings")


def settings_from(arguments: jsonargparse.Namespace, settings: type[Settings]) -> Settings:
    """Build a dataclass from the parsed arguments of the same names."""
    return settings(**{field.name: arguments[field.name] for field in fields(settings)})  # type: ignore[arg-type]


class ConfiguredParser(jsonargparse.ArgumentParser):
    """jsonargparse's parser; groups of arguments added for a class come back as objects of that class."""

    def parse_args(self, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:  # type: ignore[override]
        """Parse, then build the objects; values that an object refuses are errors like any wrong argument."""
        parsed = super().parse_args(*args, **kwargs)
        try:
            built: jsonargparse.Namespace = self.instantiate_classes(parsed)
            return built
        except (ValueError, UserError) as error:
            self.error(str(error))
