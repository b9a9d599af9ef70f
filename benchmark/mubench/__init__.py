"""mubench: how far is an unlearned multimodal model from one that never saw the person?"""

__version__ = "0.1.0"
