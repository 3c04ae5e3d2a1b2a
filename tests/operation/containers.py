"""A Dockerfile as instructions, and its steps without an engine."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Instruction:
    """One instruction of a Dockerfile, its lines joined."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of an instruction in either form."""
        return list(json.loads(self.text)) if self.text.startswith("[") else self.text.split()


def instructions(text: str) -> Iterator[Instruction]:
    """All instructions of a Dockerfile."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(None, joined.splitlines()):
        name, _, rest = line.partition(" ")
        yield Instruction(name, rest.strip())


@attrs.frozen
class Building:
    """The build stage of an image, in folders of this machine that stand for those of the image."""

    context: Path
    places: Mapping[str, Path]  # by the folder of the image

    def run(self, stage: list[Instruction], python: str) -> None:
        """Carries out what the stage copies and runs."""
        workdir = self.context
        for each in stage:
            if each.name == "WORKDIR":
                workdir = Path(self.here(each.text))
                workdir.mkdir(parents=True, exist_ok=True)
            elif each.name == "COPY":
                *sources, target = each.words
                for source in sources:
                    self._copy(self.context / source, workdir / target)
            elif each.name == "RUN":
                command = re.sub(r"^python\b", python, self.here(each.text))
                subprocess.run(["sh", "-ec", command], cwd=workdir, check=True, capture_output=True)

    def here(self, text: str) -> str:
        """A text with the image's folders named as they are here."""
        for there, here in self.places.items():
            text = text.replace(there, str(here))
        return text

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
