"""Options that several commands have, and parsers that read them from YAML files as well."""
