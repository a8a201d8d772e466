"""The networks that the named spaces build; the modules here need torch."""
