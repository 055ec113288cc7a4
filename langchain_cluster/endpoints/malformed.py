"""The error of an answer that came whole and is none. Its text is ours: it quotes nothing of the answer."""


class Malformed(ValueError):
    """An endpoint gave something else than what it was asked for."""
