"Packaging; all settings are in `settings.ini`"
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=["="])
parser.read("settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]
package = settings["lib_path"]


def words(key: str) -> list[str]:
    "Return the values of a setting that lists several"
    return shlex.split(settings.get(key, ""))


def readme() -> str:
    "Return README.md with absolute addresses, for pages outside the repository"
    address = f"{settings['git_url']}/{{}}/{settings['branch']}/"
    relative = r"(?![a-z]+:|#)"
    parts = re.split(r"(^```.*?^```$)", Path("README.md").read_text(encoding="utf-8"), flags=re.M | re.S)
    for i in range(0, len(parts), 2):  # Odd parts are code
        parts[i] = re.sub(rf'(!\[[^\]]*\]\(|src="){relative}', rf"\g<1>{address.format('raw')}", parts[i])
        parts[i] = re.sub(rf'(\]\(|href="){relative}', rf"\g<1>{address.format('blob')}", parts[i])
    return "".join(parts)


setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=readme(),
    long_description_content_type="text/markdown",
    keywords=words("keywords"),
    author=settings["author"],
    author_email=settings["author_email"],
    license="Apache-2.0",
    url=settings["git_url"],
    project_urls={"Documentation": settings["doc_host"] + settings["doc_baseurl"]},
    packages=find_packages(include=[package, f"{package}.*"]),
    package_dir={"": "."},  # Makes an editable install a plain path, which also works from the parent folder
    package_data={entry.split("=")[0]: entry.split("=")[1].split(",") for entry in words("package_data")},
    python_requires=">=" + settings["min_python"],
    install_requires=words("requirements"),
    extras_require={"dev": words("dev_requirements"), "notebooks": words("notebooks_requirements")},
    entry_points={"console_scripts": words("console_scripts"), "nbdev": [f"{package}={package}._modidx:d"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
