"""pack: compiles one deployment spec into a verified Triton repository per target."""

__version__ = "0.2.0"
