"""Pictures, pages and tables of what was learned and separated."""
