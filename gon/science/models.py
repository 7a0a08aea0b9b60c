"""Models: what each minimises in a training step, and how it reconstructs an image.

All share one interface, `Model`. The convolutional ones share one decoder too, drawn first from the
random state, so that models of the same seed start from the same decoder.
"""

import importlib

from gon.science.model import Model
from gon.spec import RunSpec


def build_model(spec: RunSpec, origin_pass: str = "fast") -> Model:
    """Build the model of a spec, from the class that its entry in `gon.catalogue.MODELS` names.

    Parameters
    ----------
    spec
        The settings.
    origin_pass
        One of `ORIGIN_PASSES`; only GON and the detached GON have both.
    """
    module, _, name = spec.entry.implementation.partition(":")
    kind = getattr(importlib.import_module(module), name)
    model: Model = kind(spec, origin_pass) if spec.entry.origin_passes else kind(spec)
    return model
