"""Chats as tokens, by a template in Hugging Face's format: what the model reads, and which of it the model wrote.

What people typed can't become a special token (shield.py): where the name of one stands in a message, or could come to
stand, a character is put that no text holds, until the template has written its own. A text without special tokens
between is encoded as one, but for the beginning and the end of what the model writes: there it is cut, as it is when
the model writes.
"""

import itertools
import re
import threading
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from maxlm.errors import ConfigError, DataError, UserError
from maxlm.paths import PathLike, as_path, read_json, read_whole
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.huggingface import SETTINGS_FILE
from maxlm.tokenizer.marks import BEGIN, END, RESERVED, SHIELD
from maxlm.tokenizer.shield import Shield

TEMPLATE_FILE = "chat_template.jinja"
CHATML = (
    "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
ASSISTANT = "assistant"

_MAX_TOLD = 300  # characters of an error's message
_NO_DATE = " (blocks would differ from day to day: write a date into a copy of the template)"

Message = dict[str, Any]  # "role", "content", and whatever else the template knows; "learn": False is no target
Learn = Literal["all", "last"]


class ChatError(UserError):
    """A chat that the template can't write, or in which the model's own words can't be found."""


class Encoded(NamedTuple):
    """A chat's tokens."""

    ids: np.ndarray  # int32 [tokens]
    learn: np.ndarray  # bool [tokens], what the model wrote


class ChatTemplate:
    """A template, compiled, with the tokenizer whose special tokens it writes. Threads may use it at once.

    Attributes:
      source: the template; where: it was found, for errors.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, where: object = TEMPLATE_FILE):
        """Raises ConfigError: no template that Jinja understands."""
        self.source, self.where, self._tokenizer = source, where, tokenizer
        names = {i: name for name, i in tokenizer.special.items()}
        self._values = {
            f"{kind}_token": names.get(i, "")
            for kind, i in (("bos", tokenizer.bos_id), ("eos", tokenizer.eos_id), ("pad", tokenizer.pad_id))
        }
        self._shield = Shield(tokenizer.special)
        self._local = threading.local()
        self._looked_for = self._compiled()[0].looked_for(source)  # names of keys, which stay what they are
        self._shield.keep(self._looked_for)

    def __reduce__(self) -> tuple[type, tuple[str, Tokenizer, object]]:
        return type(self), (self.source, self._tokenizer, self.where)

    def render(self, messages: Sequence[Message], tools: Any = None, prompt: bool = False) -> str:
        """The text that the template writes. `prompt`: with what stands before the model's next answer.

        Raises:
          ChatError: it can't be written.
        """
        return RESERVED.sub("", self._marked(*self._given(messages, tools), prompt=prompt))

    def prompt(self, messages: Sequence[Message], tools: Any = None) -> list[int]:
        """The ids that the model continues with its answer. Raises ChatError as `render`."""
        text = _unmarked(self._marked(*self._given(messages, tools), prompt=True))[0]
        return self._encode(text, []).ids.tolist()

    def encode(self, messages: Sequence[Message], learn: Learn = "all", tools: Any = None) -> Encoded:
        """A chat's tokens, and which of them are the model's answers: all that are learnt, or the last one of these.

        The answers are what stands between the template's ``{% generation %}`` and ``{% endgeneration %}``; without
        these, what it writes for a message beyond what it writes as the prompt before it.

        Raises:
          ChatError: it can't be written, or the answers can't be told.
        """
        answers = [i for i, message in enumerate(messages) if message["role"] == ASSISTANT]
        wanted = [i for i in answers if messages[i].get("learn", True)][0 if learn == "all" else -1 :]
        messages, tools = self._given(messages, tools)
        text, spans = _unmarked(self._marked(messages, tools))
        if spans and len(spans) != len(answers):
            raise ChatError(f"{self.where}: {{% generation %}} marks {len(spans)} of {len(answers)} answers")
        found = dict(zip(answers, spans, strict=True)) if spans else None
        chosen = [found[i] if found else self._span(messages, i, tools, text) for i in wanted]
        return self._encode(text, chosen)

    def ends(self) -> set[int]:
        """The special tokens that end an answer, the tokenizer's EOS among them."""
        messages = [{"role": "user", "content": "a"}, {"role": ASSISTANT, "content": "b"}]
        ids, learn = self.encode(messages)
        special = set(self._tokenizer.special.values())
        return {self._tokenizer.eos_id, *[i for i in ids[learn].tolist() if i in special][:1]}

    def _span(self, messages: Sequence[Message], number: int, tools: Any, text: str) -> tuple[int, int]:
        """Where in `text`, which is all messages', message `number` stands: what follows the prompt before it."""
        before = _unmarked(self._marked(messages[:number], tools, prompt=True))[0]
        upto = text if number == len(messages) - 1 else _unmarked(self._marked(messages[: number + 1], tools))[0]
        if not (text.startswith(upto) and upto.startswith(before)):
            raise ChatError(
                f"{self.where}: writes message {number} otherwise when others follow, so that the answers can't be "
                "told; put {% generation %} and {% endgeneration %} around them in the template, or learn the last "
                "one alone (config.conversations.learn='last')"
            )
        return len(before), len(upto)

    def _marked(self, messages: Sequence[Message], tools: Any = None, prompt: bool = False) -> str:
        """What the template writes of what is shielded, with shields and the marks of {% generation %} in it."""
        from jinja2 import TemplateError

        from maxlm.tokenizer.sandbox import UnsafeTemplateError

        sandbox, template = self._compiled()
        values = {"messages": list(messages), "tools": tools}
        try:
            return sandbox.rendered(template, {**values, **self._values, "add_generation_prompt": prompt})
        except (UnsafeTemplateError, TemplateError) as error:
            told = _told(error)
            raise ChatError(f"{self.where}: {told}{_NO_DATE if 'strftime_now' in told else ''}") from error
        # What an expression of the template raises: none of ours runs in it.
        except (
            TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError,
        ) as error:  # fmt: skip
            raise ChatError(f"{self.where}: {type(error).__name__}: {_told(error)}") from error

    def _compiled(self) -> Any:
        """The sandbox and the template of this thread."""
        from jinja2 import TemplateError

        from maxlm.tokenizer.sandbox import Sandbox, UnsafeTemplateError

        if not hasattr(self._local, "compiled"):
            sandbox = Sandbox(self._shield)
            try:
                self._local.compiled = sandbox, sandbox.compiled(self.source)
            # Python itself refuses what it is compiled to: loops nested too deeply, too many alternatives.
            except (TemplateError, UnsafeTemplateError, RecursionError, SyntaxError, MemoryError) as error:
                line = getattr(error, "lineno", None)
                where = f"{self.where}, line {line}" if line else self.where
                raise ConfigError(f"{where}: no chat template: {_told(error) or 'it is too large'}") from error
        return self._local.compiled

    def _given(self, messages: Sequence[Message], tools: Any) -> tuple[list[Message], Any]:
        """What the template gets. A role is no part of a name by chance: templates write <|user|> so."""
        given = self._shielded(messages)
        for shielded, message in zip(given, messages, strict=True):
            if isinstance(message.get("role"), str) and "role" in shielded:
                shielded["role"] = self._shield.within(message["role"])
        return given, self._shielded(tools)

    def _shielded(self, value: Any) -> Any:
        """Texts, in lists and objects and as names within them, none of which is read as a special token."""
        if isinstance(value, dict):
            looked_for = self._looked_for
            return {key if key in looked_for else self._shielded(key): self._shielded(value[key]) for key in value}
        if isinstance(value, list | tuple):
            return [self._shielded(item) for item in value]
        if not isinstance(value, str):
            return value
        if RESERVED.search(value):
            raise ChatError("a message holds U+FDD0, U+FDD1 or U+FDD2, which are no characters")
        return self._shield.put(value)

    def _encode(self, text: str, spans: Sequence[tuple[int, int]]) -> Encoded:
        """The tokens of a text that is shielded; those within `spans` are learnt."""
        edges = [0, *[edge for span in spans for edge in span], len(text)]
        ids, learn = [], []
        for number, (begin, end) in enumerate(itertools.pairwise(edges)):
            before = len(ids)
            ids += self._ids(text[begin:end])
            learn += [number % 2 == 1] * (len(ids) - before)
        return Encoded(np.array(ids, np.int32), np.array(learn, bool))

    def _ids(self, text: str) -> list[int]:
        """Special tokens by name, and what stands between them without its shields."""
        ids, place = [], 0
        for name in self._shield.written.finditer(text):
            ids += self._text_ids(text[place : name.start()])
            ids.append(self._tokenizer.special[name[0]])
            place = name.end()
        return ids + self._text_ids(text[place:])

    def _text_ids(self, text: str) -> list[int]:
        plain = text.replace(SHIELD, "")
        return self._tokenizer.encode(plain) if plain else []


def _told(error: BaseException) -> str:
    """An error's message, which may hold a template's, or a person's, words of any length."""
    words = " ".join(RESERVED.sub("", str(error))[:_MAX_TOLD].split())
    return "".join(character for character in words if character.isprintable())


def _unmarked(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """A rendering without the marks of {% generation %}, and where they stood."""
    if BEGIN not in marked:
        return marked, []
    text, spans = "", []
    for part in re.split(f"({BEGIN}[^{END}]*{END})", marked):
        inner = part[1:-1] if part.startswith(BEGIN) else part
        if inner is not part:
            spans.append((len(text), len(text) + len(inner)))
        text += inner
    return text, spans


def chat_template(folder: PathLike, tokenizer: Tokenizer) -> ChatTemplate:
    """The template in a tokenizer's folder: of chat_template.jinja or tokenizer_config.json, else ChatML.

    Raises:
      ConfigError: no template that Jinja understands, or none, and the tokenizer lacks the tokens of ChatML.
      DataError: a file that can't be read.
    """
    folder = as_path(folder)
    if (folder / TEMPLATE_FILE).exists():
        return ChatTemplate(read_template(folder / TEMPLATE_FILE), tokenizer, folder / TEMPLATE_FILE)
    for name in ("chat_template.json", SETTINGS_FILE):
        values = read_json(folder / name, "settings of a tokenizer") if (folder / name).exists() else {}
        found = values.get("chat_template")
        if found is None:
            continue
        if isinstance(found, list):  # several, by name
            named = [one for one in found if isinstance(one, dict) and one.get("name") == "default"]
            found = named[0].get("template") if named else None
        if not isinstance(found, str):
            raise ConfigError(f"{folder / name}: chat_template: no text, and no list in which one is named 'default'")
        return ChatTemplate(found, tokenizer, f"{folder / name}: chat_template")
    if lacking := [name for name in _CHATML_TOKENS if name not in tokenizer.special]:
        raise ConfigError(
            f"{folder}: no chat template, and its tokenizer lacks {' and '.join(lacking)}, which ours (ChatML) needs; "
            f"put one there as {TEMPLATE_FILE}, or name it (config.conversations.template)"
        )
    return ChatTemplate(CHATML, tokenizer, "ChatML")


def read_template(path: PathLike) -> str:
    """Raises DataError: no such file, or no text."""
    try:
        return read_whole(path, "a chat template").decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: a chat template is text in UTF-8: {error}") from error
