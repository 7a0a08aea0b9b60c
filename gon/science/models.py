"""Models: what each minimises in a training step, and how it reconstructs an image.

All share one interface, `Model`. The convolutional ones share one decoder too, drawn first from the
random state, so that models of the same seed start from the same decoder.
"""

from gon.science.baselines import (
    PCA,
    Autoencoder,
    GenerativeLatentOptimisation,
    TiedAutoencoder,
    VariationalAutoencoder,
)
from gon.science.gon import GradientOriginNetwork, ImplicitGON, VariationalGON
from gon.science.model import Model
from gon.spec import RunSpec


def build_model(spec: RunSpec, origin_pass: str = "fast") -> Model:
    """Build the model of a spec.

    Parameters
    ----------
    spec
        The settings.
    origin_pass
        One of `ORIGIN_PASSES`; only GON and the detached GON have both.
    """
    if spec.model in ("gon", "gon_detached"):
        return GradientOriginNetwork(spec, origin_pass)
    kinds: dict[str, type[Model]] = {
        "autoencoder": Autoencoder,
        "tied_autoencoder": TiedAutoencoder,
        "glo": GenerativeLatentOptimisation,
        "vae": VariationalAutoencoder,
        "pca": PCA,
        "variational_gon": VariationalGON,
        "implicit_gon": ImplicitGON,
    }
    return kinds[spec.model](spec)
