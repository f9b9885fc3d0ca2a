"""The official files of public datasets in a folder of the user's: their names, origins and checksums."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from apd.errors import DataError

MNIST_PAGE = "http://yann.lecun.com/exdb/mnist (mirrored by many)"
FASHION_PAGE = "https://github.com/zalandoresearch/fashion-mnist"
OMNIGLOT_PAGE = "https://github.com/brendenlake/omniglot, folder python"
CIFAR_PAGE = (
    "https://www.cs.toronto.edu/~kriz/cifar.html, the binary version: the Python one is a pickle, which is not read"
)
SVHN_PAGE = "http://ufldl.stanford.edu/housenumbers, format 2"
NOTMNIST_PAGE = "http://yaroslavvb.blogspot.com/2011/09/notmnist-dataset.html"


@dataclass(frozen=True, slots=True)
class Source:
    """One official file."""

    file: str
    """Path below the data folder."""
    md5: str | None
    """Checksum that its authors, or the libraries that fetch it, publish; None where there is none."""
    page: str
    """Where to get it."""


MNIST = (
    Source("mnist/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", MNIST_PAGE),
    Source("mnist/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", MNIST_PAGE),
    Source("mnist/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", MNIST_PAGE),
    Source("mnist/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", MNIST_PAGE),
)
FASHION_MNIST = (
    Source("fashion-mnist/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", FASHION_PAGE),
    Source("fashion-mnist/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", FASHION_PAGE),
    Source("fashion-mnist/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", FASHION_PAGE),
    Source("fashion-mnist/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", FASHION_PAGE),
)
OMNIGLOT = (
    Source("omniglot/images_background.zip", "68d2efa1b9178cc56df9314c21c6e718", OMNIGLOT_PAGE),
    Source("omniglot/images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811", OMNIGLOT_PAGE),
)
CIFAR100 = Source("cifar100/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", CIFAR_PAGE)
CIFAR100_PARQUET = (
    Source("cifar100/train.parquet", None, "the Hugging Face hub, dataset uoft-cs/cifar100"),
    Source("cifar100/test.parquet", None, "the Hugging Face hub, dataset uoft-cs/cifar100"),
)
CIFAR10 = Source("cifar10/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", CIFAR_PAGE)
SVHN = (
    Source("svhn/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", SVHN_PAGE),
    Source("svhn/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", SVHN_PAGE),
)
NOTMNIST = Source("notmnist/notMNIST_small.tar.gz", None, NOTMNIST_PAGE)


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """The files below one folder."""

    folder: Path
    insist: bool = False
    """Refuse a file that is not the official one, instead of noting it."""
    notes: list[str] = field(default_factory=list)
    """What a reader of results must know about the files used so far."""

    def has(self, source: Source) -> bool:
        """Whether the file is there at all."""
        return (self.folder / source.file).is_file()

    def path(self, source: Source) -> Path:
        """Where the file is. DataError if it is absent, or not the official one and that is insisted on."""
        path = self.folder / source.file
        if not path.is_file():
            raise DataError(f"{path} is absent; get {path.name} from {source.page}")
        problem = _difference(path, source.md5)
        if problem and self.insist:
            raise DataError(f"{path} {problem}; get the official one from {source.page}")
        if problem:
            self.note(f"unofficial copy: {source.file} {problem}")
        return path

    def note(self, text: str) -> None:
        """Keep a note once."""
        if text not in self.notes:
            self.notes.append(text)


def _difference(path: Path, expected: str | None) -> str | None:
    """What tells the file from the official one; None if nothing does."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if expected is None:
        return f"has md5 {found}, and no official checksum to compare with"
    return None if found == expected else f"has md5 {found}, the official file {expected}"
