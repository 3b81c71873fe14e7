"""Fetch jars from Maven Central with the Ivy that PySpark brings, when an image or .venv is made.

fetch_jars.py IVY_FILE FOLDER

Puts the jars that the file lists into the folder, with all that they need. Uses the proxy of
https_proxy and no_proxy, which Java ignores. Needs PySpark, and Java in JAVA_HOME or on PATH.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies
from xml.etree import ElementTree

# All in a temporary folder, where Ivy runs. To Ivy, brackets, parentheses and $ in the name of a
# folder have a meaning. Nothing from the user's own Ivy or Maven folders gets in.
IVY_HOME, JARS, IVY_FILE, JAVA_OPTIONS = "home", "jars", "ivy.xml", "java.options"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Fetch jars with Ivy.")
    parser.add_argument("ivy_file", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        fetch(given.ivy_file.resolve(), Path(work))
        for jar in (Path(work) / JARS).iterdir():
            shutil.move(jar, given.folder / jar.name)
    missing = [jar for jar in listed(given.ivy_file) if not (given.folder / jar).exists()]
    if missing:
        sys.exit(f"Ivy has not fetched {', '.join(missing)}")


def listed(ivy_file: Path) -> list[str]:
    """The jars that the file names."""
    dependencies = ElementTree.parse(ivy_file).iter("dependency")
    return [f"{each.attrib['name']}-{each.attrib['rev']}.jar" for each in dependencies]


def fetch(ivy_file: Path, work: Path) -> None:
    """Run Ivy in `work`, where only this user can read; exit if it fails."""
    (work / JARS).mkdir()
    shutil.copy(ivy_file, work / IVY_FILE)
    # In a file, because other users can read a command line, and it may contain a password.
    options = map(json.dumps, proxy_options(getproxies()))  # Java reads such quotes, too
    (work / JAVA_OPTIONS).write_text("\n".join(options))
    result = subprocess.run(
        [
            *(java(), f"@{JAVA_OPTIONS}", f"-Divy.default.ivy.user.dir={work / IVY_HOME}"),
            *("-jar", ivy_jar(), "-ivy", IVY_FILE, "-types", "jar", "bundle"),
            *("-retrieve", f"{JARS}/[artifact]-[revision].[ext]"),
        ],
        cwd=work,
    )
    if result.returncode != 0:
        sys.exit(result.returncode)


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def ivy_jar() -> Path:
    spec = importlib.util.find_spec("pyspark")
    assert spec and spec.origin, "PySpark is not installed"
    return next(Path(spec.origin).parent.glob("jars/ivy-*.jar"))


def proxy_options(proxies: Mapping[str, str]) -> list[str]:
    """Java's options for the proxies of `getproxies()`. Maven Central is on https."""
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy:
        return []
    url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    options = [f"-Dhttps.proxyHost={url.hostname}", f"-Dhttps.proxyPort={url.port or 80}"]
    if "no" in proxies:
        hosts = [host.strip().lstrip(".") for host in proxies["no"].split(",")]
        options += [f"-Dhttp.nonProxyHosts={'|'.join(f'{host}|*.{host}' for host in hosts)}"]
    if url.username:
        options += [
            f"-Dhttp.proxyUser={unquote(url.username)}",  # Ivy reads these two for https, too
            f"-Dhttp.proxyPassword={unquote(url.password or '')}",
            "-Djdk.http.auth.tunneling.disabledSchemes=",  # Java allows no Basic by default
        ]
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
