"""What there is to choose from: data sets, activations and models, by name. Imports nothing heavy."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Archive:
    """The tar archive in which the makers publish a data set; unpacked, it gives the data set's folder."""

    file: str
    """Its name, on the mirrors and in the data folder."""
    md5: str
    """MD5 digest of the archive as it is, compressed."""


@dataclass(frozen=True)
class Dataset:
    """One image data set as its makers publish it."""

    name: str
    """The name used in parameter files and on the command line."""
    title: str
    """The name as it is printed."""
    required: bool
    """Whether the report is not made without it; else it is left out where it cannot be had."""
    channels: int
    """Colour channels per image."""
    train_images: int
    validation_images: int
    """Images in the published test split; it serves as validation split, because the authors' code trains on
    all training images."""
    folder: str
    """Folder of the published files inside the data folder, as torchvision names it."""
    md5: dict[str, str]
    """MD5 digest of each uncompressed file that is needed, by file name."""
    mirrors: tuple[str, ...]
    """Where the makers and torchvision publish the files: each gzipped, or together as `archive`."""
    largest_file: int
    """Bytes; no file is larger, compressed or not, and more than this is not taken from anyone."""
    archive: Archive | None = None
    """The archive that the files come in, if they do not come one by one."""
    sha256: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the prepared images of each split, the same on every machine; empty for a data set that this
    project has not prepared yet."""


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            title="MNIST",
            required=True,
            channels=1,
            train_images=60_000,
            validation_images=10_000,
            folder="MNIST/raw",
            md5={
                "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
            },
            mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
            largest_file=64 * 2**20,
            sha256={
                "train": "e2ed02ba3cec0dca9783366b9eb047f61b43620eecb6fd5bd0da3f7cedd17594",
                "validation": "750966a83c3f66b21f310636df69984b116407e280d0e2fc2f606aa33c6749cc",
            },
        ),
        Dataset(
            name="fashion-mnist",
            title="Fashion-MNIST",
            required=True,
            channels=1,
            train_images=60_000,
            validation_images=10_000,
            folder="FashionMNIST/raw",
            md5={
                "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
                "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
                "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
            },
            mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            largest_file=64 * 2**20,
            sha256={
                "train": "3d3a288ddb7257643f683513fb240cc5b02fed27700cc2d3d35ebefad0db11a4",
                "validation": "1f1ea0ce7d1ace331ee9219ad0357d38ab7e127a448a67a5ac799f8bf96f8b25",
            },
        ),
        Dataset(
            name="cifar-10",
            title="CIFAR-10",
            required=False,
            channels=3,
            train_images=50_000,
            validation_images=10_000,
            folder="cifar-10-batches-py",
            md5={
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
                # Holds no images; published with the others.
                "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            },
            mirrors=("https://www.cs.toronto.edu/~kriz/",),
            largest_file=192 * 2**20,
            archive=Archive("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ),
        Dataset(
            name="small-norb",
            title="Small NORB",
            required=False,
            channels=1,
            # Of the two cameras that took every pair of images, the first.
            train_images=24_300,
            validation_images=24_300,
            folder="SmallNORB",
            md5={
                "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat": "8138a0902307b32dfa0025a36dfa45ec",
                "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat": "e9920b7f7b2869a8f1a12e945b2c166c",
            },
            mirrors=("https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",),
            largest_file=448 * 2**20,
        ),
    )
}
"""Data sets by name. MD5 digests: the files' publishers, also in torchvision's sources where it has them."""

ACTIVATIONS = {
    "elu": "ELU",
    "relu": "ReLU",
    "tanh": "tanh",
    "leaky_relu": "LeakyReLU",
    "softplus": "Softplus",
}
"""Activations of the decoder: name in parameter files, and name as printed (report, 3.3)."""

IMAGE_SIZE = 32
"""Images are resized to 32 x 32 pixels before training (report, section 3.2)."""

DEFAULT_BUDGET = "reference"
"""The budget of every command and notebook that names none: see `params/budgets.yaml`."""

MILESTONES = (1, 5, 50, 200, 500)
"""Epochs at which a training leaves a record on its way to a larger number."""


@dataclass(frozen=True)
class ModelEntry:
    """One model: what there is to know of it without building it."""

    name: str
    """The name used in parameter files and on the command line."""
    title: str
    """The name as it is printed."""
    numerics: int
    """Version of its arithmetic, raised by hand whenever a change moves the numbers of its runs
    (tests/test_science.py notices). It is part of a run's digest: raising it makes the runs of that model
    train anew, and a change of code that leaves the arithmetic alone, a comment say, retrains nothing. Those
    of `gon` and `gon_detached` are frozen: the reference records rest on them."""
    implementation: str
    """Its class, as "module:class"; only `gon.science.models.build_model` imports it."""
    unused: tuple[str, ...] = ()
    """Settings that it does not have. They keep their default, so that no two digests mean the same."""
    exact: bool = False
    """Computed in one pass, not trained: the same at every number of epochs, from every seed."""
    has_encoder: bool = False
    """It has an encoder, and can be validated with the running statistics of its batch norms too; for GON
    these would change the inner gradient by orders of magnitude."""
    has_prior: bool = False
    """Its latents have a standard normal prior, from which new images are drawn."""
    validated_at_milestones: bool = False
    """Its validation costs more than an epoch of training, and is made at `MILESTONES` only."""
    origin_passes: bool = False
    """Its latent is the gradient at the origin of the plain decoder, which has a plain and a fast form."""
    decodes_latent: bool = False
    """The convolutional decoder takes z itself, with no further map in between."""
    parameter_formula: Literal["decoder", "decoder and encoder"] | None = None
    """What its trained parameters are those of; None where no formula is given."""


_GON = ModelEntry(
    name="gon",
    title="GON",
    numerics=3,
    implementation="gon.science.gon:GradientOriginNetwork",
    origin_passes=True,
    decodes_latent=True,
    parameter_formula="decoder",
)
MODELS = {
    entry.name: entry
    for entry in (
        _GON,
        dataclasses.replace(_GON, name="gon_detached", title="detached GON"),
        ModelEntry(
            name="autoencoder",
            title="autoencoder",
            numerics=4,
            implementation="gon.science.baselines:Autoencoder",
            unused=("inner_steps",),
            has_encoder=True,
            decodes_latent=True,
            parameter_formula="decoder and encoder",
        ),
        ModelEntry(
            name="tied_autoencoder",
            title="tied autoencoder",
            numerics=4,
            implementation="gon.science.baselines:TiedAutoencoder",
            unused=("inner_steps",),
            has_encoder=True,
            decodes_latent=True,
        ),
        ModelEntry(
            name="glo",
            title="GLO",
            numerics=4,
            implementation="gon.science.baselines:GenerativeLatentOptimisation",
            unused=("inner_steps",),
            validated_at_milestones=True,
            decodes_latent=True,
        ),
        ModelEntry(
            name="vae",
            title="variational autoencoder",
            numerics=4,
            implementation="gon.science.baselines:VariationalAutoencoder",
            unused=("inner_steps",),
            has_encoder=True,
            has_prior=True,
            decodes_latent=True,
        ),
        ModelEntry(
            name="pca",
            title="PCA",
            numerics=3,
            implementation="gon.science.baselines:PCA",
            unused=("inner_steps", "width", "activation", "learning_rate", "seed"),
            exact=True,
        ),
        ModelEntry(
            name="variational_gon",
            title="variational GON",
            numerics=5,
            implementation="gon.science.gon:VariationalGON",
            unused=("inner_steps",),
            has_prior=True,
        ),
        ModelEntry(
            name="implicit_gon",
            title="implicit GON",
            numerics=4,
            implementation="gon.science.gon:ImplicitGON",
            unused=("inner_steps", "activation"),
        ),
    )
}
"""Models by name: the one place that lists them."""

EXACT_MODELS = tuple(name for name, entry in MODELS.items() if entry.exact)
"""For those who have the name of a model only, from a file say."""

SPLITS = {
    "test": "all training images, validated on the test images",
    "held_out": "all training images but the last 10,000, validated on those",
}
"""What is trained and validated on; `test` is what the authors' code suggests."""
HELD_OUT_IMAGES = 10_000

EXPLANATIONS = {"method": "what a Gradient Origin Network is"}
"""Notebooks that explain and judge no claim: name, and title as printed. The report links them first."""

EVALUATIONS = {
    "protocols": "validation loss by other protocols (SSE per image)",
    "fitting": "validation loss by number and size of the steps that fit the latents (SSE per image)",
    "inner_step": "a second inner step: its share of the latent, and validation losses (SSE per image)",
    "latent_scale": "validation loss by a factor that scales the latents (SSE per image)",
    "dead_units": "shares of the decoder's channels that no gradient passes at the origin",
    "prior": "distances of latents from their prior, and of samples from images (SSE per image)",
}
"""Further evaluations of a trained model, made by `gon evaluate` where a claim asks for them."""
