"""What there is to choose from: data sets and activations, by name. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Archive:
    """The tar archive in which the makers publish a data set; unpacked, it gives the data set's folder.

    Attributes
    ----------
    file
        Its name, on the mirrors and in the data folder.
    md5
        MD5 digest of the archive as it is, compressed.
    """

    file: str
    md5: str


@dataclass(frozen=True)
class Dataset:
    """One image data set as its makers publish it.

    Attributes
    ----------
    name
        The name used in parameter files and on the command line.
    title
        The name as it is printed.
    required
        Whether the report is not made without it. One that is not required is left out of the
        report where it cannot be had.
    channels
        Colour channels per image.
    train_images, validation_images
        Images in the published training and test split. The test split serves as validation
        split, because the authors' code trains on all training images.
    folder
        Folder of the published files inside the data folder; torchvision expects its data sets there.
    md5
        MD5 digest of each uncompressed file that is needed, by file name.
    mirrors
        Where the makers and torchvision publish the files: each gzipped, or together as `archive`.
    largest_file
        Bytes; no file is larger, compressed or not, and more than this is not taken from anyone.
    archive
        The archive that the files come in, if they do not come one by one.
    """

    name: str
    title: str
    required: bool
    channels: int
    train_images: int
    validation_images: int
    folder: str
    md5: dict[str, str]
    mirrors: tuple[str, ...]
    largest_file: int
    archive: Archive | None = None


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
                # Holds no images, but torchvision reads it whenever it reads the others.
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
