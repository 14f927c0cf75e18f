"""maxlm: from raw text to a language model that a team trusts."""

__version__ = "0.1.0"
