"""How much of a text is program code, by its lines: for rows, which have no file name to tell."""

import re

# Enough lines to judge by, at little cost: the beginning, the middle and the end of a long text.
_PIECE = 700  # characters
_MIN_LINES = 3

# TeX, Markdown, reStructuredText, HTML and JSON have braces and keywords too, and are no program code.
_MARKUP = re.compile(r"\s*(?:\\[a-zA-Z]|%|<|[\"'][^\"']*[\"']\s*:|\|.*\|$|\.\. |:\w+:|#+ (?!include)|>{1,3} |- )|\$")
_CODE = re.compile(
    "|".join(
        [
            r"[;{}]\s*$",  # most languages end their lines so
            r"^\s*[)\]}]+[;,)]*\s*$",
            r"^\s*(?:def|class|async def|fn|pub fn|func|function|impl|interface|struct|enum)\s+\w+.*[:{(]\s*$",
            r"^\s*(?:if|elif|else|for|while|try|except|finally|with|switch|case|match)\b.*[:{]\s*$",
            r"^\s*(?:import\s+[\w.{*\"]+|from\s+[\w.]+\s+import\s|@\w[\w.]*(?:\(.*\))?\s*$)",
            r"^\s*#\s?(?:include|define|ifn?def|if|endif|pragma)\b",
            r"^\s*(?:return|yield|raise|throw|assert|await|print|del)\b[ (][\w\"'(\[{.,*+ /=<>!&|-]*[)\w\"'\]}]\s*$",
            r"^\s*(?:const|let|var|val|static|public|private|protected|unsigned|auto)\s+[\w<>*&\[\]]+",
            # an assignment
            r"^\s*[\w.\[\]\"'*&>()-]+(?:\s*:\s*[\w.\[\]|, ]+)?\s*(?:[-+*/%|&^]|\*\*|//|<<|>>|:)?=\s*[^\s=]",
            r"^\s*[\w.]+(?:::\w+|->\w+)*\([^()]*(?:\([^()]*\)[^()]*)*\),?\s*$",  # a call, and nothing else
            r"=>|->\s*[\w\[]|::\w|\s(?:==|!=|&&|\|\||\+=)\s",
            r"^\s*[\w.]+\($",
        ]
    )
)
_COMMENT = re.compile(r"^\s*(?://|\*[ /]|\*$|#(?!\s*(?:include|define|if|endif|pragma))|--\s|>>> |\.\.\. )")
_COMMENT_BLOCK = re.compile(r"(\"\"\"|''')[\s\S]*?(?:\1|\Z)|/\*[\s\S]*?(?:\*/|\Z)")
_FENCE = re.compile(r"^ *(?:```|~~~)", re.MULTILINE)  # prose with code in it: Markdown
_SIGNS = "(){}=;:[]"
_MIN_SIGNS = 0.03  # of all characters; English prose has some 0.003, Python 0.08
_WHOLE_LINE = 60  # characters: a paragraph without line ends counts as that many lines of this length


def code_share(text: str) -> float:
    """The share of lines, comments aside, that only a program has; 0 where there are too few lines to judge by.

    A rule of our own; docs/corpus/operators.md has its error rates.
    """
    sample = _sample(text)
    if sum(map(sample.count, _SIGNS)) < _MIN_SIGNS * len(sample) or _FENCE.search(sample):
        return 0.0
    code = other = 0
    if any(sign in sample for sign in ('"""', "'''", "/*")):
        sample = _COMMENT_BLOCK.sub("", sample)
    for line in sample.split("\n"):
        if not line.strip() or _COMMENT.match(line):
            continue
        if not _MARKUP.match(line) and _CODE.search(line[:300]):
            code += 1
        else:
            other += max(1, len(line) // _WHOLE_LINE)
    return code / (code + other) if code + other >= _MIN_LINES else 0.0


def _sample(text: str) -> str:
    """Whole lines from the beginning, the middle and the end."""
    if len(text) <= 3 * _PIECE:
        return text
    middle = len(text) // 2
    pieces = text[:_PIECE], text[middle : middle + _PIECE], text[-_PIECE:]
    first = pieces[0].rpartition("\n")[0] or pieces[0]
    return "\n".join([first, *(piece.partition("\n")[2] for piece in pieces[1:])])
