"""Tiny datasets in the official file formats, for tests of their loaders."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import scipy.io
from folders import encoded_picture, hub_file, pixels

CIFAR100_FINE = [f"fine{number:02d}" for number in range(100)]
CIFAR100_COARSE = [f"coarse_{number:02d}" for number in range(20)]


def save_idx(path, array):
    """MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), 1))


def save_mnist(folder, rows=40):
    """`rows` pictures of ten classes, and half as many to test; their labels count up."""
    for part, count in (("train", rows), ("t10k", rows // 2)):
        save_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels(count, (28, 28)))
        save_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)


def save_tar(path, members):
    """A gzipped archive of these contents by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def cifar100_rows(rows):
    """Pictures, fine labels that count up, and each fine label's superclass: fine modulo 20."""
    fine = np.arange(rows) % 100
    return pixels(rows, (3, 32, 32)), fine, fine % 20


def save_cifar100_archive(folder, rows=400):
    """The binary version."""

    def records(count):
        pictures, fine, coarse = cifar100_rows(count)
        return (
            np.concatenate([coarse[:, None], fine[:, None], pictures.reshape(count, -1)], 1).astype(np.uint8).tobytes()
        )

    names = {"fine": CIFAR100_FINE, "coarse": CIFAR100_COARSE}
    contents = {f"{kind}_label_names.txt": "\n".join(lines).encode() + b"\n" for kind, lines in names.items()}
    contents |= {"train.bin": records(rows), "test.bin": records(rows // 2)}
    save_tar(
        folder / "cifar100" / "cifar-100-binary.tar.gz",
        {f"cifar-100-binary/{name}": content for name, content in contents.items()},
    )


def save_cifar100_parquet(folder, rows=400):
    """The same rows as on the Hugging Face hub."""
    (folder / "cifar100").mkdir(parents=True)
    features = {"fine_label": {"names": CIFAR100_FINE}, "coarse_label": {"names": CIFAR100_COARSE}}
    for part, count in (("train", rows), ("test", rows // 2)):
        pictures, fine, coarse = cifar100_rows(count)
        pictures = [encoded_picture(picture) for picture in pictures]
        hub_file(folder / "cifar100" / f"{part}.parquet", features, img=pictures, fine_label=fine, coarse_label=coarse)


def save_cifar10(folder, rows=20):
    """The binary version: five batches and the test batch."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    members = {}
    for number, name in enumerate(names):
        labels = np.arange(rows)[:, None] % 10
        records = np.concatenate([labels, pixels(rows, (3072,), seed=number)], 1).astype(np.uint8)
        members[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
    members["cifar-10-batches-bin/batches.meta.txt"] = (
        "\n".join(f"kind{number}" for number in range(10)).encode() + b"\n\n"
    )
    save_tar(folder / "cifar10" / "cifar-10-binary.tar.gz", members)


def save_svhn(folder, rows=40):
    """MATLAB files whose digit 0 is labelled 10."""
    (folder / "svhn").mkdir(parents=True)
    for part in ("train", "test"):
        pictures = pixels(rows, (3, 32, 32)).transpose(2, 3, 1, 0)
        labels = (np.arange(rows) % 10 + 1).astype(np.uint8)[:, None]
        scipy.io.savemat(folder / "svhn" / f"{part}_32x32.mat", {"X": pictures, "y": labels})


def save_notmnist(folder, rows=20):
    """Folders A to J of letters, one of which cannot be read."""
    members = {
        f"notMNIST_small/{letter}/{row}.png": encoded_picture(pixels(1, (1, 28, 28), row)[0])["bytes"]
        for letter in "ABCDEFGHIJ"
        for row in range(rows)
    }
    save_tar(folder / "notmnist" / "notMNIST_small.tar.gz", members | {"notMNIST_small/A/broken.png": b""})


def save_omniglot(folder, per_archive=(15, 10)):
    """Two archives of characters whose drawings are blank but for a bar, as wide as their drawer's number."""
    (folder / "omniglot").mkdir(parents=True)
    for part, count in zip(("background", "evaluation"), per_archive, strict=True):
        with zipfile.ZipFile(folder / "omniglot" / f"images_{part}.zip", "w") as archive:
            for character in range(count):
                for drawer in range(1, 21):
                    paper = np.full((1, 105, 105), 255, np.uint8)
                    paper[:, 0:10, : 5 * drawer] = 0
                    place = f"images_{part}/Alphabet_{part}/character{character + 1:02d}/0001_{drawer:02d}.png"
                    archive.writestr(place, encoded_picture(paper)["bytes"])
