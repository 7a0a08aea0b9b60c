"""What there is to choose from: data sets and activations, by name. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """One image data set as its makers publish it.

    Attributes
    ----------
    name
        The name used in parameter files and on the command line.
    title
        The name as it is printed.
    torchvision_class
        The class of ``torchvision.datasets`` that reads it; also the folder it reads from.
    channels
        Colour channels per image.
    train_images, validation_images
        Images in the published training and test split. The test split serves as validation
        split, because the authors' code trains on all training images.
    md5
        MD5 digest of each uncompressed file, by file name.
    """

    name: str
    title: str
    torchvision_class: str
    channels: int
    train_images: int
    validation_images: int
    md5: dict[str, str]


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            title="MNIST",
            torchvision_class="MNIST",
            channels=1,
            train_images=60_000,
            validation_images=10_000,
            md5={
                "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
            },
        ),
        Dataset(
            name="fashion-mnist",
            title="Fashion-MNIST",
            torchvision_class="FashionMNIST",
            channels=1,
            train_images=60_000,
            validation_images=10_000,
            md5={
                "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
                "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
                "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
                "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
            },
        ),
    )
}
"""Data sets by name. MD5 digests: the files' publishers, also in torchvision's sources."""

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
