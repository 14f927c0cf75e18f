"""Language identifiers side by side: how often they are right, and how fast; and how well code is told from prose.

    python tools/bench_language.py [FOLDER of text to read]

Compares what is installed of py3langid, lingua-language-detector and pycld2 with this project and with its model alone.
FOLDER holds `en`, `zh`, `math` and `code`.
"""

import argparse
import importlib.util
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from data_pipeline.ingest import language
from data_pipeline.ingest.units import CODE_SUFFIXES, TEXT_SUFFIXES

SENTENCES = Path(__file__).parents[1] / "tests" / "data_pipeline" / "ingest" / "languages.txt"
SAME = {"nb": "no", "nn": "no", "iw": "he", "zh-Hant": "zh", "yue": "zh", "wuu": "zh"}


def identifiers() -> dict[str, Callable[[str], str]]:
    """The identifiers that can be asked here, by name."""
    found: dict[str, Callable[[str], str]] = {
        "this project": language.identify,
        "lid.176.ftz, whole text": lambda text: language._model().predict(" ".join(text.split()), 1, 0.0, "replace")[0][
            0
        ][9:],
    }
    if importlib.util.find_spec("py3langid"):
        import py3langid

        found["py3langid"] = lambda text: py3langid.classify(text)[0]
    if importlib.util.find_spec("lingua"):
        from lingua import LanguageDetectorBuilder

        lingua = LanguageDetectorBuilder.from_all_languages().build()
        found["lingua"] = lambda text: lingua.detect_language_of(text).iso_code_639_1.name.lower()
    if importlib.util.find_spec("pycld2"):
        import pycld2

        found["cld2"] = lambda text: pycld2.detect(text, bestEffort=True)[2][0][1]
    return found


def labelled() -> dict[str, list[tuple[str, str]]]:
    """(language, text) pairs: joined sentences, sentences, and their first 20 characters."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    sentences = [(code, text) for code, _, text in (line.partition(": ") for line in lines if line[0] != "#")]
    joined = defaultdict(list)
    for code, text in sentences:
        joined[code].append(text)
    return {
        "texts": [(code, " ".join(texts)) for code, texts in joined.items()],
        "sentences": sentences,
        "20 characters": [(code, text[:20]) for code, text in sentences],
    }


def read(folder: Path, suffixes: set[str]) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path, path.read_text(encoding="utf-8", errors="replace")


def rate(identify: Callable[[str], str], texts: list[str]) -> str:
    identify(texts[0])
    start = time.process_time()
    for text in texts:
        identify(text)
    spent = time.process_time() - start
    return (
        f"{sum(len(text.encode()) for text in texts) / spent / 1e6:.1f} MB/s ({spent / len(texts) * 1e6:.0f} us a text)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    pieces: dict[str, list[str]] = {}
    for name in ("en", "zh") if folder else ():
        texts = [text for _, text in read(folder / name, TEXT_SUFFIXES) if len(text) >= 4000]
        pieces[name] = [text[:4000] for text in texts[:200]]
    for name, identify in identifiers().items():
        print(name)
        for kind, pairs in labelled().items():
            right = sum(SAME.get(found := identify(text), found) == code for code, text in pairs)
            print(f"  {kind}: {right / len(pairs):.3f} of {len(pairs)} right")
        for kind, texts in pieces.items():
            print(f"  {kind}, 4000 characters: {rate(identify, texts)}")
    if folder:
        print("this project, files by what they are taken for")
        for name in ("en", "zh", "math", "code"):
            files = read(folder / name, set(CODE_SUFFIXES) if name == "code" else TEXT_SUFFIXES)
            print(
                f"  {name}:", dict(Counter(language.identify(text) for _, text in files if text.strip()).most_common(6))
            )


if __name__ == "__main__":
    main()
